"""`OomAlarm`: a descriptor that says when a cgroup has run out of memory.

Version 1 writes to an eventfd that was registered with ``memory.oom_control``, before it kills;
version 2 changes ``memory.events``, also for other reasons, after it has killed.
"""

from __future__ import annotations

import os

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import inotify
from kedge.runtime.cgroups.files import write_value
from kedge.runtime.cgroups.v2_stats import read_oom_kills

if TYPE_CHECKING:
    from collections.abc import Mapping


_READ_BYTES = 4096


class OomAlarm:
    """Readable when something has happened; `take` says whether it was want of memory."""

    __slots__ = ("_directory", "_is_v2", "fd", "kills")

    def __init__(self, directories: Mapping[str, str], *, fd: int = -1, kills: int = 0) -> None:
        """Watch a cgroup.

        Args:
            directories: As `kedge.runtime.cgroups.Cgroup.directories` returns them.
            fd: Of an alarm in another process, to go on with; it belongs to this one then.
            kills: That alarm's.

        Raises:
            OSError: It has no memory controller, or the kernel refused.
        """
        self._is_v2 = "" in directories
        self._directory = directories.get("" if self._is_v2 else "memory", "")
        self.fd, self.kills = fd, kills
        """What is read, and how many kills have been told of."""
        if fd >= 0:
            return
        self.kills = read_oom_kills(self._directory) if self._is_v2 else 0
        self.fd = inotify.init() if self._is_v2 else os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._register()
        except BaseException:
            os.close(self.fd)
            raise

    def _register(self) -> None:
        if self._is_v2:
            inotify.add_watch(self.fd, f"{self._directory}/memory.events", inotify.IN_MODIFY)
            return
        control = os.open(f"{self._directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            write_value(f"{self._directory}/cgroup.event_control", f"{self.fd} {control}")
        finally:
            os.close(control)

    def take(self) -> bool:
        """Take what is to be read, and tell whether memory has run out since the last time."""
        try:
            os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not self._is_v2:
            # The removal of the cgroup is told in the same way.
            return os.path.exists(self._directory)
        before, self.kills = self.kills, read_oom_kills(self._directory)
        return self.kills > before

    def close(self) -> None:
        """Stop watching."""
        os.close(self.fd)
