"""``--ulimit nofile=1024:2048``. Pure. Source of the rules: docker/go-units ``ulimit.go``."""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final


_NAMES: Final = frozenset(
    (
        *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice"),
        *("nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)


class Limit(NamedTuple):
    """A resource limit; -1 is none."""

    name: str
    soft: int
    hard: int

    def __str__(self) -> str:
        """Return the limit as ``--ulimit`` takes it."""
        return f"{self.name}={self.soft}:{self.hard}"


def parse_ulimit(text: str) -> Limit:
    """Return the limit of one ``--ulimit`` value.

    Raises:
        InvalidParameterError: It is malformed, unknown, or the soft limit is above the hard one.
    """
    name, equals, numbers = text.partition("=")
    if not equals or "=" in numbers:
        raise InvalidParameterError(f"invalid ulimit argument: {text}")
    if name not in _NAMES:
        raise InvalidParameterError(f"invalid ulimit type: {name}")
    parts = numbers.split(":")
    if len(parts) > 2:
        raise InvalidParameterError(
            f"too many limit value arguments - {numbers}, can only have up to two, `soft[:hard]`"
        )
    try:
        soft, hard = int(parts[0]), int(parts[-1])
    except ValueError:
        raise InvalidParameterError(
            f"invalid ulimit argument: {text}: want {name}=SOFT[:HARD]"
        ) from None
    if hard != -1 and (soft == -1 or soft > hard):
        raise InvalidParameterError(
            f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )
    return Limit(name, soft, hard)
