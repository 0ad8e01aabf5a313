"""The container's network namespace, made by the shim and configured by the engine from outside.

A netlink socket belongs for ever to the namespace it was opened in. So the shim opens one inside
and hands it over, and the engine moves links and sets addresses without entering any namespace,
while the shim goes on with the container's mounts.
"""

import os
from socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket

from kedge.linux.namespaces import CLONE_NEWNET, unshare
from kedge.linux.netlink import NETLINK_ROUTE


def open_netns() -> tuple[int, int]:
    """Move this process into a new network namespace; return its descriptor and a route socket.

    Raises:
        OSError: The kernel refused.
    """
    unshare(CLONE_NEWNET)
    netns = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    route = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
    # An address of its own, so that the engine need not bind a socket of another namespace.
    route.bind((0, 0))
    return netns, route.detach()
