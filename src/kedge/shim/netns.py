"""The container's network namespace, made by the shim and configured by the engine from outside.

A netlink socket belongs for ever to the namespace it was opened in. So the shim opens one inside
and hands it over, and the engine moves links and sets addresses without entering any namespace,
while the shim goes on with the container's mounts. The socket is opened with the host's rights even
where the namespace belongs to a user namespace: the kernel asks for those of the opener, too.
"""

import os
from socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket

from kedge.linux.namespaces import CLONE_NEWNET, setns, unshare
from kedge.linux.netlink import NETLINK_ROUTE
from kedge.oci.runtime_spec.types import IdMapping


def open_descriptors() -> tuple[int, int]:
    """Return this process's network namespace and a route socket in it; the caller owns both.

    Raises:
        OSError: The kernel refused.
    """
    own = open_own()
    try:
        route = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
        # An address of its own, so that the engine need not bind a socket of another namespace.
        route.bind((0, 0))
    except OSError:
        os.close(own)
        raise
    return own, route.detach()


def open_own() -> int:
    """Return this process's network namespace; the caller owns it."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class ReadyNetns:
    """A new network namespace this process has moved into, before it is known who needs one."""

    def __init__(
        self,
        uids: tuple[IdMapping, ...] = (),
        gids: tuple[IdMapping, ...] = (),
        *,
        owner: str = "",
    ) -> None:
        """Move there.

        Args:
            uids: With these mappings, it belongs to a new user namespace that has them.
            gids: The same for groups.
            owner: Path of the user namespace, in place of a new one.

        Raises:
            OSError: The kernel refused.
        """
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if uids:
            _enter_mapped(uids, gids, owner)
        else:
            unshare(CLONE_NEWNET)
        self._descriptors = open_descriptors()

    def host(self) -> int:
        """Return a descriptor of the namespace this process came from; the caller owns it."""
        return os.dup(self._home)

    def give(self) -> tuple[int, int]:
        """Return the namespace's descriptor and a route socket in it; the caller owns both."""
        os.close(self._home)
        return self._descriptors

    def leave(self) -> None:
        """Go back to where this process came from: the container brings its own or needs none."""
        setns(self._home, CLONE_NEWNET)
        for descriptor in (self._home, *self._descriptors):
            os.close(descriptor)


def _enter_mapped(uids: tuple[IdMapping, ...], gids: tuple[IdMapping, ...], owner: str) -> None:
    # A shim without such a container, and the tests' stand-in for one, do without the runtime here.
    from kedge.runtime.namespaces import open_network_namespace  # noqa: PLC0415

    own = open_network_namespace(uids, gids, owner=owner)
    try:
        setns(own, CLONE_NEWNET)
    finally:
        os.close(own)
