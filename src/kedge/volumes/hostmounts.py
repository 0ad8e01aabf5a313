"""File systems of volumes that must be mounted once for all their users.

A tmpfs mounted twice is two, and a network file system needs the host's network, so these cannot
be made inside a container's namespaces. They are mounted below the exec root while a container
that uses them runs; `HostMounts.recover` takes up what an engine before left there.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterable, Mapping
from typing import Final

from kedge.errdefs import SystemFailureError
from kedge.linux import mount as lm
from kedge.volumes.driver import Location

_FLAGS: Final = {
    "ro": lm.MS_RDONLY,
    "nosuid": lm.MS_NOSUID,
    "nodev": lm.MS_NODEV,
    "noexec": lm.MS_NOEXEC,
    "noatime": lm.MS_NOATIME,
    "nodiratime": lm.MS_NODIRATIME,
    "relatime": lm.MS_RELATIME,
    "strictatime": lm.MS_STRICTATIME,
}
_PLAIN: Final = frozenset({"rw", "defaults", "suid", "dev", "exec", "_netdev", "nofail"})
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3"})


class HostMounts:
    """Mounts below one folder, counted by the containers that use them; thread-safe."""

    def __init__(self, root: str) -> None:
        """Keep mounts below ``root``, which need not exist yet."""
        self._root = root
        self._lock = threading.RLock()
        self._users: dict[str, set[str]] = {}

    def path(self, name: str) -> str:
        """Return where the file system of a volume is while it is in use."""
        return os.path.join(self._root, name)

    def acquire(self, name: str, location: Location, user: str) -> str:
        """Mount a volume's file system unless it is, and return where.

        Raises:
            SystemFailureError: The kernel refuses, with Docker's text.
        """
        path = self.path(name)
        with self._lock:
            if name not in self._users:
                os.makedirs(path, mode=0o711, exist_ok=True)
                try:
                    _mount(location, path)
                except OSError as error:
                    with contextlib.suppress(OSError):
                        os.rmdir(path)
                    raise SystemFailureError(
                        f"error while mounting volume '{path}': failed to mount local volume: "
                        f"mount {location.source}:{path}, data: {','.join(location.options)}: "
                        f"{os.strerror(error.errno or 0).lower()}"
                    ) from error
            self._users.setdefault(name, set()).add(user)
        return path

    def release(self, user: str) -> None:
        """Let go of everything the container ``user`` had; what nobody uses is unmounted."""
        with self._lock:
            for name, users in list(self._users.items()):
                users.discard(user)
                if not users:
                    del self._users[name]
                    self._unmount(name)

    def recover(self, users: Mapping[str, Iterable[str]]) -> None:
        """Take up the mounts of running containers and unmount all others."""
        with self._lock:
            self._users = {name: set(found) for name, found in users.items()}
            if not os.path.isdir(self._root):
                return
            for name in os.listdir(self._root):
                if name not in self._users:
                    self._unmount(name)

    def _unmount(self, name: str) -> None:
        path = self.path(name)
        # More than one lies there if an engine was killed between a mount and its record.
        while os.path.ismount(path):
            lm.umount(path, lm.MNT_DETACH | lm.UMOUNT_NOFOLLOW)
        with contextlib.suppress(OSError):
            os.rmdir(path)


def _mount(location: Location, path: str) -> None:
    flags = 0
    data: list[str] = []
    for option in location.options:
        if option in _FLAGS:
            flags |= _FLAGS[option]
        elif option not in _PLAIN:
            data.append(option)
    if location.fstype in _NETWORK:
        data = [_resolved(option) for option in data]
    lm.mount(location.source, path, location.fstype, flags, ",".join(data))


def _resolved(option: str) -> str:
    """Return ``addr=name`` with the address: the kernel resolves no names."""
    key, _, host = option.partition("=")
    if key != "addr" or not host:
        return option
    try:
        address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise SystemFailureError(
            f"error resolving passed in network volume address: {host}: {error.strerror}"
        ) from error
    return f"addr={address}"
