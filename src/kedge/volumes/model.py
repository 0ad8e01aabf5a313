"""`Volume` and the rules of its name. Vocabulary: moby `volume`, messages as there. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kedge.errdefs import InvalidParameterError

ANONYMOUS_LABEL: Final = "com.docker.volume.anonymous"
LOCAL: Final = "local"
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_NAME_BYTES: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume; what it holds lies in its folder, or where its options say."""

    name: str
    driver: str = LOCAL
    created_ns: int = 0
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody gave it a name."""
        return ANONYMOUS_LABEL in self.labels


def check_name(name: str) -> None:
    """Raise unless ``name`` may be a volume's.

    Raises:
        InvalidParameterError: Docker's text.
    """
    if len(name) == 1:
        raise InvalidParameterError(
            f"create {name}: volume name is too short, names should be at least two alphanumeric "
            "characters"
        )
    if not _NAME.fullmatch(name):
        raise InvalidParameterError(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )
    if len(name) > _NAME_BYTES:
        raise InvalidParameterError(
            f"create {name[:40]}...: volume name is longer than {_NAME_BYTES} characters"
        )
