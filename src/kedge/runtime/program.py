"""Finding the program to run and completing its environment, inside the container's root."""

from __future__ import annotations

import os
import stat

from kedge.errdefs import ForbiddenError, NotFoundError
from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.failures import reason

if TYPE_CHECKING:
    from typing import Final


_PASSWD_MAX: Final = 1 << 20


def home_of(uid: int) -> str:
    """Return the home directory of ``uid`` in the container's /etc/passwd, or ``/``."""
    try:
        # The image decides what this is: a FIFO must not block, a device must not be read.
        fd = os.open("/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return "/"
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return "/"
        text = os.read(fd, _PASSWD_MAX).decode(errors="replace")
    finally:
        os.close(fd)
    for line in text.split("\n"):
        parts = line.split(":")
        if len(parts) > 5 and parts[2] == str(uid):
            return parts[5] or "/"
    return "/"


def complete_environment(env: tuple[str, ...], uid: int) -> tuple[str, ...]:
    """Return the environment without repeated names (the last wins) and with ``HOME``."""
    found: dict[str, str] = {}
    for entry in env:
        found[entry.partition("=")[0]] = entry
    if not found.get("HOME", "HOME=")[5:]:
        found["HOME"] = f"HOME={home_of(uid)}"
    return tuple(found.values())


def find_program(name: str, environment: tuple[str, ...]) -> str:
    """Return the path of ``name``, searched in ``PATH`` as Go's ``exec.LookPath`` does.

    Raises:
        NotFoundError: With Docker's text, from which its CLI makes exit code 127.
        ForbiddenError: With Docker's text, from which its CLI makes exit code 126.
    """
    if "/" in name:
        return _check_program(name)
    search = next((entry[5:] for entry in environment if entry.startswith("PATH=")), "")
    for directory in search.split(":") if search else ():
        candidate = f"{directory or '.'}/{name}"
        try:
            if os.access(candidate, os.X_OK, effective_ids=True) and not os.path.isdir(candidate):
                return candidate
        except OSError:
            continue
    raise NotFoundError(f'exec: "{name}": executable file not found in $PATH')


def _check_program(name: str) -> str:
    try:
        mode = os.stat(name).st_mode
    except PermissionError as error:
        raise ForbiddenError(f'exec: "{name}": permission denied') from error
    except OSError as error:
        raise NotFoundError(f'exec: "{name}": stat {name}: {reason(error)}') from error
    if stat.S_ISDIR(mode):
        raise ForbiddenError(f'exec: "{name}": is a directory')
    if not os.access(name, os.X_OK, effective_ids=True):
        raise ForbiddenError(f'exec: "{name}": permission denied')
    return name
