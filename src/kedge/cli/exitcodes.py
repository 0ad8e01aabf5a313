"""Exit codes of the command, as Docker's client uses them."""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


OK: Final = 0
FAILED: Final = 1
USAGE: Final = 125
CANNOT_EXECUTE: Final = 126
NOT_FOUND: Final = 127


def code_of_failed_run(message: str) -> int:
    """Return the code of a ``run`` or ``exec`` whose program could not be started.

    Docker's client derives it from the same words.
    """
    if "executable file not found" in message or "no such file or directory" in message:
        return NOT_FOUND
    if "permission denied" in message or "is a directory" in message:
        return CANNOT_EXECUTE
    return USAGE
