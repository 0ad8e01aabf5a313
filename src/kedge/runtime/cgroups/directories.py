"""Directories of a cgroup hierarchy: making, listing processes, removing while it drains."""

from __future__ import annotations

import errno
import os
import time

from kedge.errdefs import ConflictError, SystemFailureError
from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.cgroups.files import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final


REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""What the kernel says where a cgroup must not be made; below one's own it may be allowed."""

_REMOVE_WITHIN_S: Final = 5.0
_CREATE_ATTEMPTS: Final = 10


def make_directory(base: str, path: str) -> str:
    """Make ``path`` below ``base`` with its parents; an existing one is used as it is.

    Raises:
        OSError: The kernel refused.
    """
    target = f"{base}/{path}"
    for _ in range(_CREATE_ATTEMPTS):
        try:
            os.mkdir(target, 0o755)
        except FileExistsError:
            return target
        except FileNotFoundError:
            # The parent is missing, or an engine that is going away has just removed it.
            _make_parents(base, path)
        else:
            return target
    raise SystemFailureError(f"cannot make the cgroup {target}: its parent keeps disappearing")


def _make_parents(base: str, path: str) -> None:
    current = base
    for part in path.split("/")[:-1]:
        current = f"{current}/{part}"
        try:
            os.mkdir(current, 0o755)
        except (FileExistsError, FileNotFoundError):
            continue


def walk(directory: str) -> Iterator[str]:
    """Yield every cgroup below ``directory`` and then itself: children before parents."""
    try:
        with os.scandir(directory) as entries:
            children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for child in children:
        yield from walk(child)
    yield directory


def list_pids(directory: str) -> list[int]:
    """Return the processes in ``directory`` and below, without order or repetition."""
    found: set[int] = set()
    for cgroup in walk(directory):
        # "0" stands for a process outside the reader's PID namespace: no number to act on.
        found.update(int(line) for line in read_text(f"{cgroup}/cgroup.procs").split())
    found.discard(0)
    return sorted(found)


def remove_tree(directory: str) -> None:
    """Remove ``directory`` and the cgroups below it.

    A process that has been waited for may still hold its cgroup for a moment, so a busy
    directory is tried again until a deadline.

    Raises:
        ConflictError: It is still in use after that.
    """
    deadline = time.monotonic() + _REMOVE_WITHIN_S
    pause = 0.0002
    while True:
        try:
            _remove_once(directory)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise SystemFailureError(
                    f"cannot remove the cgroup {directory}: {error.strerror}"
                ) from error
            if time.monotonic() >= deadline:
                raise ConflictError(_busy_message(directory)) from error
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        else:
            return


def _remove_once(directory: str) -> None:
    # The common case first, one system call: a container rarely makes cgroups of its own.
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.ENOTEMPTY}:
            raise
    else:
        return
    for cgroup in walk(directory):
        try:
            os.rmdir(cgroup)
        except FileNotFoundError:
            continue


def _busy_message(directory: str) -> str:
    pids = list_pids(directory)
    if not pids:
        return f"the kernel still uses the cgroup {directory}"
    shown = ", ".join(map(str, pids[:10]))
    return f"the cgroup {directory} still has processes: {shown}"


def remove_empty_ancestors(base: str, path: str) -> None:
    """Remove the parents of ``path`` below ``base`` as far as they are unused."""
    parts = path.split("/")[:-1]
    while parts:
        try:
            os.rmdir("/".join([base, *parts]))
        except OSError:
            return
        parts.pop()
