"""The host's kernel as the network controller sees it: one object, thread-safe.

Holds rtnetlink and nf_tables sockets of the namespace it was made in, and a lock for each.
It executes requests and answers questions; what to ask for is decided elsewhere. Tests put a fake
in its place (`HostKernel` is the interface).
"""

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from kedge.errdefs import UnavailableError
from kedge.linux import nftables as nft
from kedge.linux import rtnetlink as rt
from kedge.linux import rtnetlink_addresses as ra
from kedge.linux.conntrack import Flows, forget_flows
from kedge.linux.netlink import (
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    NetlinkError,
    NetlinkSocket,
    Request,
)
from kedge.linux.nftables_events import open_table_events
from kedge.linux.nftables_expressions import refuses_everything
from kedge.network import sysctls

_LOCK_NAME: Final = "\0kedge-network-setup"
_LOCK_TIMEOUT_S: Final = 30.0
_LOCK_POLL_S: Final = 0.005
# Looking at this many in Python takes as long as the kernel's look through its whole table.
_FEW_FLOWS: Final = 2000
# What a kernel without nf_tables, or without its inet or nat part, answers.
_NO_PACKET_FILTER: Final = frozenset(
    {errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOPROTOOPT, errno.ENOENT}
)
_REFUSED: Final = frozenset({errno.EPERM, errno.EACCES})


class HostKernel(Protocol):
    """What the controller needs of the host."""

    def batch(self, requests: Sequence[Request]) -> None:
        """Carry out rtnetlink requests in the host's namespace."""
        ...

    def remove(self, requests: Sequence[Request]) -> None:
        """Carry out rtnetlink requests that take long, in nobody's way."""
        ...

    def batch_in(self, descriptor: int, requests: Sequence[Request]) -> None:
        """Carry out rtnetlink requests in the namespace the netlink socket belongs to."""
        ...

    def link_in(self, descriptor: int, name: str) -> rt.Link:
        """Return a link of the namespace the netlink socket belongs to."""
        ...

    def links_in(self, descriptor: int) -> list[rt.Link]:
        """Return the links of the namespace the netlink socket belongs to."""
        ...

    def addresses_in(self, descriptor: int) -> list[ra.Address]:
        """Return the addresses of the namespace the netlink socket belongs to."""
        ...

    def set_sysctls_in(self, netns_fd: int, values: Sequence[tuple[str, str]]) -> None:
        """Set switches below ``/proc/sys/net`` of another namespace."""
        ...

    def try_link(self, name: str) -> rt.Link | None:
        """Return a link of the host, None when there is none of that name."""
        ...

    def links(self) -> list[rt.Link]:
        """Return the host's links."""
        ...

    def addresses(self) -> list[ra.Address]:
        """Return the addresses of the host's links."""
        ...

    def routes(self) -> list[ra.Route]:
        """Return the host's routes, IPv4 and IPv6, of all tables."""
        ...

    def commit(self, requests: Sequence[Request]) -> None:
        """Change the packet filter, all or nothing."""
        ...

    def packet_filter_problem(self) -> str:
        """Return why no rules can be loaded; empty when they can."""
        ...

    def has_bridge_filter(self) -> bool:
        """Tell whether nf_tables can look at what a bridge forwards."""
        ...

    def base_chains(self) -> list[nft.BaseChain]:
        """Return the base chains of every nf_tables table."""
        ...

    def ends_in_refusal(self, chain: nft.BaseChain) -> bool:
        """Tell whether the last rule of a chain drops or rejects what is left."""
        ...

    def forget_flows(self, flows: Sequence[Flows]) -> None:
        """Have the packets of tracked connections looked at anew, where the kernel tracks any."""
        ...

    def open_table_events(self) -> socket.socket | None:
        """Return a socket that hears of removed tables; None where nothing can be heard."""
        ...

    def has_ipv6(self) -> bool:
        """Tell whether new links get IPv6."""
        ...

    def ensure_sysctl(self, name: str, value: str) -> bool:
        """Make a switch below ``/proc/sys/net`` have a value."""
        ...

    def ensure_forwarding(self, *, ipv6: bool, advertised: Collection[str]) -> list[str]:
        """Let the host forward; return the switches that were changed."""
        ...

    def setup_lock(self) -> AbstractContextManager[None]:
        """Return a lock all engines of the host share."""
        ...

    def close(self) -> None:
        """Let go of the sockets."""
        ...


class LinuxKernel:
    """The real kernel, in the network namespace of the thread that makes this object."""

    def __init__(self) -> None:
        """Open the route socket; the packet filter's is opened when first needed."""
        self._route = NetlinkSocket(NETLINK_ROUTE)
        self._route_lock = threading.Lock()
        self._removal = NetlinkSocket(NETLINK_ROUTE)
        self._removal_lock = threading.Lock()
        self._filter: nft.NftablesSocket | None = None
        self._filter_lock = threading.Lock()
        self._flows: NetlinkSocket | None = None
        self._flows_lock = threading.Lock()

    def close(self) -> None:
        """Close the sockets."""
        with self._route_lock, self._removal_lock, self._filter_lock:
            self._route.close()
            self._removal.close()
            if self._filter is not None:
                self._filter.close()
                self._filter = None
        with self._flows_lock:
            if self._flows is not None:
                self._flows.close()
                self._flows = None

    def batch(self, requests: Sequence[Request]) -> None:
        """Carry out rtnetlink requests; the first refused one is raised as NetlinkError."""
        with self._route_lock:
            self._route.batch(requests)

    def remove(self, requests: Sequence[Request]) -> None:
        """Carry out removals; the kernel waits after them without its own lock, so do we."""
        with self._removal_lock:
            self._removal.batch(requests)

    def batch_in(self, descriptor: int, requests: Sequence[Request]) -> None:
        """Carry out rtnetlink requests through a socket of another namespace."""
        with NetlinkSocket(NETLINK_ROUTE, descriptor=descriptor) as other:
            other.batch(requests)

    def link_in(self, descriptor: int, name: str) -> rt.Link:
        """Return a link of the namespace the netlink socket belongs to."""
        with NetlinkSocket(NETLINK_ROUTE, descriptor=descriptor) as other:
            return rt.parse_link(other.query(rt.get_link(name))[0])

    def links_in(self, descriptor: int) -> list[rt.Link]:
        """Return the links of the namespace the netlink socket belongs to."""
        with NetlinkSocket(NETLINK_ROUTE, descriptor=descriptor) as other:
            return [rt.parse_link(message) for message in other.query(rt.dump_links())]

    def addresses_in(self, descriptor: int) -> list[ra.Address]:
        """Return the addresses of the namespace the netlink socket belongs to."""
        with NetlinkSocket(NETLINK_ROUTE, descriptor=descriptor) as other:
            return [ra.parse_address(found) for found in other.query(ra.dump_addresses())]

    def set_sysctls_in(self, netns_fd: int, values: Sequence[tuple[str, str]]) -> None:
        """Set switches below ``/proc/sys/net`` of another namespace."""
        sysctls.set_inside(netns_fd, values)

    def try_link(self, name: str) -> rt.Link | None:
        """Return a link of the host, None when there is none of that name."""
        try:
            with self._route_lock:
                return rt.parse_link(self._route.query(rt.get_link(name))[0])
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def links(self) -> list[rt.Link]:
        """Return the host's links."""
        with self._route_lock:
            return [rt.parse_link(message) for message in self._route.query(rt.dump_links())]

    def addresses(self) -> list[ra.Address]:
        """Return the addresses of the host's links."""
        with self._route_lock:
            return [ra.parse_address(found) for found in self._route.query(ra.dump_addresses())]

    def routes(self) -> list[ra.Route]:
        """Return the host's routes, IPv4 and IPv6, of all tables."""
        with self._route_lock:
            return [
                ra.parse_route(message)
                for family in (socket.AF_INET, socket.AF_INET6)
                for message in self._route.query(ra.dump_routes(family))
            ]

    def commit(self, requests: Sequence[Request]) -> None:
        """Change the packet filter, all or nothing."""
        with self._filter_lock:
            self._open_filter().commit(requests)

    def packet_filter_problem(self) -> str:
        """Return why no rules can be loaded; empty when they can (loading modules if need be)."""
        probe = nft.Table(f"kedge-probe-{os.getpid()}")
        hook = nft.Hook("nat", nft.NF_INET_PRE_ROUTING, nft.PRIORITY_DSTNAT)
        try:
            # The transaction makes the table and takes it back: nobody ever sees it.
            self.commit(
                [
                    nft.new_table(probe),
                    nft.new_chain(probe, "nat", hook),
                    nft.delete_table(probe),
                ]
            )
        except OSError as error:
            if error.errno in _NO_PACKET_FILTER:
                return "this kernel has no nf_tables"
            if error.errno in _REFUSED:
                return "the engine may not load packet filter rules (it needs CAP_NET_ADMIN)"
            raise
        return ""

    def has_bridge_filter(self) -> bool:
        """Tell whether nf_tables can look at what a bridge forwards (loading it if need be)."""
        probe = nft.Table(f"kedge-probe-{os.getpid()}", nft.NFPROTO_BRIDGE)
        try:
            self.commit([nft.new_table(probe), nft.delete_table(probe)])
        except NetlinkError as error:
            if error.errno in _NO_PACKET_FILTER:
                return False
            raise
        return True

    def base_chains(self) -> list[nft.BaseChain]:
        """Return the base chains of every nf_tables table, ours and others'."""
        with self._filter_lock:
            messages = self._open_filter().query(nft.list_chains())
        found = (nft.try_parse_base_chain(message) for message in messages)
        return [chain for chain in found if chain is not None]

    def ends_in_refusal(self, chain: nft.BaseChain) -> bool:
        """Tell whether the last rule of a chain drops or rejects what is left."""
        table = nft.Table(chain.table, chain.family)
        with self._filter_lock:
            messages = self._open_filter().query(nft.list_rules(table, chain.name))
        rules = [nft.parse_rule(message) for message in messages]
        own = [rule for rule in rules if (rule.table, rule.chain) == (chain.table, chain.name)]
        return bool(own) and refuses_everything(own[-1].expressions)

    def forget_flows(self, flows: Sequence[Flows]) -> None:
        """Have the packets of tracked connections looked at anew, where the kernel tracks any."""
        # Without connection tracking nothing is translated that could be stale.
        with self._flows_lock, contextlib.suppress(OSError):
            if self._flows is None:
                self._flows = NetlinkSocket(NETLINK_NETFILTER)
            tracked = sysctls.try_read("netfilter/nf_conntrack_count")
            is_quiet = tracked is not None and int(tracked) < _FEW_FLOWS
            forget_flows(self._flows, flows, at_once=is_quiet and len(flows) > 1)

    def open_table_events(self) -> socket.socket | None:
        """Return a socket that hears of removed tables; None where nothing can be heard."""
        try:
            return open_table_events()
        except OSError:
            return None

    def has_ipv6(self) -> bool:
        """Tell whether new links get IPv6."""
        return sysctls.has_ipv6()

    def ensure_sysctl(self, name: str, value: str) -> bool:
        """Make a switch below ``/proc/sys/net`` have a value; tell whether it was changed."""
        return sysctls.ensure(name, value)

    def ensure_forwarding(self, *, ipv6: bool, advertised: Collection[str]) -> list[str]:
        """Let the host forward; return the switches that were changed."""
        changed = sysctls.ensure_forwarding4()
        return changed + (sysctls.ensure_forwarding6(advertised) if ipv6 else [])

    def setup_lock(self) -> AbstractContextManager[None]:
        """Return a lock that all engines of this network namespace share.

        The name of an abstract socket belongs to its namespace and is given back by the kernel
        when its holder dies, which no lock file does.
        """
        return _setup_lock()

    def _open_filter(self) -> nft.NftablesSocket:
        if self._filter is None:
            self._filter = nft.NftablesSocket()
        return self._filter


@contextmanager
def _setup_lock() -> Generator[None]:
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        while True:
            try:
                lock.bind(_LOCK_NAME)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        "another engine has been setting up its network for "
                        f"{_LOCK_TIMEOUT_S:.0f} s; try again"
                    ) from None
                time.sleep(_LOCK_POLL_S)
            else:
                break
        yield
