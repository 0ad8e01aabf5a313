"""Messages of the long operations (pull, push, load, import, build), one JSON object a line.

Vocabulary: moby `pkg/jsonmessage`, wire names as there.
"""

import msgspec
from msgspec import UNSET, UnsetType, field


class ProgressDetail(msgspec.Struct, omit_defaults=True):
    """How far one item is; without a total the client shows no bar."""

    current: int = 0
    total: int = 0
    units: str = ""
    hidecounts: bool = False


class ErrorDetail(msgspec.Struct, omit_defaults=True):
    """Why the operation failed; `code` is the exit code of a failing build step."""

    code: int = 0
    message: str = field(default_factory=str)


class Aux(msgspec.Struct, omit_defaults=True):
    """What a program wants to know at the end: the built image, the pushed manifest."""

    id: str = field(name="ID", default="")
    tag: str = field(name="Tag", default="")
    digest: str = field(name="Digest", default="")
    size: int = field(name="Size", default=0)


class ProgressStage(msgspec.Struct, omit_defaults=True):
    """Which stage of a build a message is from, for clients that show several at once."""

    name: str
    begins: str = ""
    """The step that begins with this message, its number first."""
    ends: bool = False
    """The step ends with this message."""


class ProgressMessage(msgspec.Struct, omit_defaults=True):
    """One line: text of a build in `stream`, a state of a download in `status` and `id`."""

    stream: str = ""
    status: str = ""
    progress_detail: ProgressDetail | None = field(name="progressDetail", default=None)
    progress: str = ""
    id: str = ""
    error_detail: ErrorDetail | None = field(name="errorDetail", default=None)
    error: str = ""
    aux: Aux | msgspec.Raw | UnsetType = UNSET
    stage: ProgressStage | None = None


def error_message(text: str, *, code: int = 0) -> ProgressMessage:
    """Return the message that ends a failed operation after its head was sent."""
    return ProgressMessage(error_detail=ErrorDetail(code=code, message=text), error=text)
