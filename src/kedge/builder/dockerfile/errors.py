"""Failures of the Dockerfile front end: one line that names the line and the nearest valid word."""

import difflib
from collections.abc import Iterable

from kedge.errdefs import InvalidParameterError


class DockerfileError(InvalidParameterError):
    """A Dockerfile that cannot be understood.

    Attributes:
        reason: What is wrong, without the line.
        line: First line of the instruction, counted from 1; 0 when the file as a whole is meant.
    """

    def __init__(self, reason: str, *, line: int = 0) -> None:
        self.reason = _printable(reason)
        self.line = line
        place = f" on line {line}" if line else ""
        super().__init__(f"dockerfile parse error{place}: {self.reason}")

    def at(self, line: int) -> "DockerfileError":
        """Return the same failure with a line, unless it already has one."""
        return self if self.line else DockerfileError(self.reason, line=line)


def _printable(reason: str) -> str:
    """Return one line that does nothing to a terminal, whatever the file held."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in reason
    )


def suggestion(word: str, valid: Iterable[str]) -> str:
    """Return `` (did you mean X?)`` for the valid word nearest to ``word``, or nothing."""
    by_folded = {name.casefold(): name for name in valid}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f" (did you mean {by_folded[near[0]]}?)" if near else ""


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return the name nearest to ``word``, case included, or an empty string."""
    near = difflib.get_close_matches(word, sorted(valid), n=1, cutoff=0.7)
    return near[0] if near else ""
