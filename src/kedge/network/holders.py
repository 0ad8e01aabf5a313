"""Who holds a port: the owner of a socket, found in ``/proc``.

Answers the question a user has when a port is taken. Only for error messages: it reads every
process's descriptors, which takes milliseconds. The formats are those of ``proc(5)``.
"""

import ipaddress
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kedge.network.ipam import IPAddress

_TCP_LISTEN: Final = "0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that has the port open."""

    pid: int
    command: str

    def __str__(self) -> str:
        """Return ``pid 4722 (python3)``."""
        return f"pid {self.pid} ({self.command})"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSocket:
    """One line of ``/proc/net/tcp`` and its kin."""

    address: IPAddress
    port: int
    state: str
    inode: int


def parse_socket_table(text: str) -> Iterator[BoundSocket]:
    """Yield the sockets of a ``/proc/net/{tcp,udp}{,6}`` file."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        address, _, port = fields[1].partition(":")
        yield BoundSocket(
            address=_parse_hex_address(address),
            port=int(port, 16),
            state=fields[3],
            inode=int(fields[9]),
        )


def find_holder(
    protocol: str, address: IPAddress, port: int, *, proc: str = "/proc"
) -> Holder | None:
    """Return a process whose socket keeps ``address:port`` from being bound, if one is visible.

    Args:
        protocol: ``tcp`` or ``udp``.
        address: The address that was wanted.
        port: The port that was wanted.
        proc: Where procfs is.
    """
    # Not /proc/net: that is the main thread's namespace, whichever thread asks.
    inodes = {
        bound.inode
        for suffix in ("", "6")
        for bound in parse_socket_table(_read(f"{proc}/thread-self/net/{protocol}{suffix}"))
        if bound.port == port and _is_in_the_way(bound, address, protocol)
    }
    inodes.discard(0)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()):
        if _has_descriptor(f"{proc}/{pid}/fd", wanted):
            return Holder(pid=pid, command=_read(f"{proc}/{pid}/comm").strip() or "?")
    return None


def _parse_hex_address(text: str) -> IPAddress:
    """Return an address printed as 32-bit words in the machine's byte order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    return ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _is_in_the_way(bound: BoundSocket, wanted: IPAddress, protocol: str) -> bool:
    if protocol == "tcp" and bound.state != _TCP_LISTEN:
        return False
    if bound.address.is_unspecified or wanted.is_unspecified:
        # A socket on :: may hold the IPv4 port as well (no IPV6_V6ONLY); procfs does not say.
        return wanted.version == bound.address.version or bound.address == ipaddress.IPv6Address(0)
    return bound.address == wanted


def _has_descriptor(directory: str, wanted: set[str]) -> bool:
    try:
        return any(os.readlink(f"{directory}/{name}") in wanted for name in os.listdir(directory))
    except OSError:
        # The process ended, or is someone else's and we may not look.
        return False


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
