"""What `kedge-runtime` has to say besides its output: the log of ``--log``, and standard error.

The file's lines are in the two formats of runc, because callers read from it why a command failed.
Without a file, warnings and ``--debug`` lines go to standard error; an error goes to both.
"""

from __future__ import annotations

import sys

from kedge.errdefs import InvalidParameterError
from kedge.lib import quickjson
from kedge.lib.clock import SYSTEM_CLOCK, format_rfc3339
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final


_FORMATS: Final = ("text", "json")


class Journal:
    """Takes messages of three levels."""

    __slots__ = ("_as_json", "_debug", "_path")

    def __init__(self, path: str = "", log_format: str = "text", *, debug: bool = False) -> None:
        """Name the file; it is opened for each line, and may be one that several commands share.

        Raises:
            InvalidParameterError: There is no such format.
        """
        if log_format not in _FORMATS:
            raise InvalidParameterError(f"--log-format is text or json, not {log_format!r}")
        self._path = path
        self._as_json = log_format == "json"
        self._debug = debug

    def error(self, message: str) -> None:
        """Say why the command failed."""
        self._write("error", message)
        sys.stderr.write(f"kedge-runtime: {message}\n")

    def warning(self, message: str) -> None:
        """Say what was done without."""
        if not self._write("warning", message):
            sys.stderr.write(f"kedge-runtime: warning: {message}\n")

    def debug(self, message: str) -> None:
        """Say what is being done, with ``--debug`` only."""
        if self._debug and not self._write("debug", message):
            sys.stderr.write(f"kedge-runtime: debug: {message}\n")

    def _write(self, level: str, message: str) -> bool:
        if not self._path:
            return False
        now = format_rfc3339(SYSTEM_CLOCK.time_ns())
        if self._as_json:
            line = quickjson.encode({"level": level, "msg": message, "time": now}).decode()
        else:
            line = f'time="{now}" level={level} msg={quickjson.encode(message).decode()}'
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        return True


DEFAULT_ROOT: Final = "/run/kedge-runtime"


class Invocation(NamedTuple):
    """What the global options of one call say."""

    root: str
    """Where the state directories are."""
    journal: Journal
