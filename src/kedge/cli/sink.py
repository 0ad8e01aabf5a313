"""Where an archive goes: a file that appears whole or not at all, or standard output.

An archive on a terminal helps nobody, so that is refused.
"""

import os
import sys
from collections.abc import Iterable

from kedge.errdefs import InvalidParameterError

_TERMINAL = "cowardly refusing to {verb} to a terminal: use the -o flag or redirect standard output"


def check_sink(path: str, verb: str) -> None:
    """Refuse a terminal, a folder, or a file in a folder that is not there.

    Raises:
        InvalidParameterError: One of them.
    """
    if not path:
        if sys.stdout.isatty():
            raise InvalidParameterError(_TERMINAL.format(verb=verb))
        return
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise InvalidParameterError(
            f"invalid output path: directory {folder!r} does not exist".replace("'", '"')
        )
    if os.path.isdir(path):
        raise InvalidParameterError(f"invalid output path: {path} is a directory")


def write_sink(path: str, chunks: Iterable[bytes]) -> None:
    """Write ``chunks`` to the file ``path``, or to standard output where it is empty."""
    if not path or not _is_plain(path):
        target = sys.stdout.buffer if not path else open(path, "wb")  # noqa: SIM115 - closed below
        for chunk in chunks:
            target.write(chunk)
        target.flush()
        if path:
            target.close()
        return
    temporary = os.path.join(
        os.path.dirname(os.path.realpath(path)), f".kedge-{os.getpid()}.partial"
    )
    try:
        with open(temporary, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(temporary, os.path.realpath(path))
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _is_plain(path: str) -> bool:
    """Whether a file may be replaced: a pipe or a device is written to as it is."""
    return not os.path.exists(path) or os.path.isfile(path)
