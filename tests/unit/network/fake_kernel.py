"""A host whose links and packet filter are Python dictionaries, and that can fail on demand."""

import contextlib
import errno
import ipaddress
import threading
from collections.abc import Collection, Sequence

from kedge.errdefs import SystemFailureError
from kedge.linux import nftables as nft
from kedge.linux import rtnetlink as rt
from kedge.linux import rtnetlink_addresses as ra
from kedge.linux.conntrack import Flows
from kedge.linux.netlink import Message, NetlinkError, Request, parse_attributes

_IFINFO_SIZE = 16
_IFLA_NET_NS_FD = 28


class Crash(BaseException):
    """The engine was killed here."""


class FakeKernel:
    """Keeps links by name; everything else is only written down."""

    def __init__(self) -> None:
        # The reaper's thread removes links while others are made.
        self._lock = threading.RLock()
        self.present: dict[str, rt.Link] = {"lo": _link(1, "lo", "")}
        self.route_table: list[ra.Route] = []
        self.sandboxes: dict[int, list[str]] = {}
        self.commits: list[list[str]] = []
        self.sysctls: dict[str, str] = {}
        self.chains: list[nft.BaseChain] = []
        self.forgotten: list[Flows] = []
        self.refusing: set[str] = set()
        self.is_filter_there = True
        self.is_ipv6_there = True
        self.crash_at = -1
        self.refuse_at = -1
        self.steps = 0
        self.refuses_removal = False
        self.commit_error = 0
        self.is_locked = False

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.crash_at:
            raise Crash
        if self.steps == self.refuse_at:
            raise NetlinkError(errno.EPERM, "test")

    def batch(self, requests: Sequence[Request]) -> None:
        with self._lock:
            for request in requests:
                self._step()
                self._apply(request)

    def remove(self, requests: Sequence[Request]) -> None:
        if self.refuses_removal:
            raise NetlinkError(errno.EBUSY, requests[0].what)
        with self._lock:
            refuse_at, self.refuse_at = self.refuse_at, -1
            self.batch(requests)
            self.refuse_at = refuse_at

    def _apply(self, request: Request) -> None:
        if request.type not in {rt.RTM_NEWLINK, rt.RTM_DELLINK}:
            return
        link = rt.parse_link(Message(request.type, 0, 0, request.body))
        if _IFLA_NET_NS_FD in parse_attributes(request.body[_IFINFO_SIZE:]):
            # Made in a container's namespace, where nobody here looks.
            return
        if request.type == rt.RTM_NEWLINK and request.what.startswith("create"):
            if link.name in self.present:
                raise NetlinkError(errno.EEXIST, request.what)
            index = max(item.ifindex for item in self.present.values()) + 1
            self.present[link.name] = link._replace(ifindex=index)
        elif request.type == rt.RTM_NEWLINK and link.group:
            found = next(item for item in self.present.values() if item.ifindex == link.ifindex)
            self.present[found.name] = found._replace(group=link.group)
        elif request.type == rt.RTM_DELLINK and link.group:
            gone = [item.name for item in self.present.values() if item.group == link.group]
            for name in gone:
                del self.present[name]
        elif request.type == rt.RTM_DELLINK:
            if link.name not in self.present:
                raise NetlinkError(errno.ENODEV, request.what)
            del self.present[link.name]

    def batch_in(self, descriptor: int, requests: Sequence[Request]) -> None:
        self._step()
        self.sandboxes.setdefault(descriptor, []).extend(request.what for request in requests)

    def link_in(self, descriptor: int, name: str) -> rt.Link:
        assert descriptor >= 0
        return _link(2, name, "veth")

    def links_in(self, descriptor: int) -> list[rt.Link]:
        assert descriptor >= 0
        return [_link(1, "lo", "")]

    def addresses_in(self, descriptor: int) -> list[ra.Address]:
        assert descriptor >= 0
        return []

    def set_sysctls_in(self, netns_fd: int, values: Sequence[tuple[str, str]]) -> None:
        assert netns_fd >= 0
        self.sysctls.update(values)

    def try_link(self, name: str) -> rt.Link | None:
        return self.present.get(name)

    def links(self) -> list[rt.Link]:
        return list(self.present.values())

    def addresses(self) -> list[ra.Address]:
        return []

    def routes(self) -> list[ra.Route]:
        return self.route_table

    def commit(self, requests: Sequence[Request]) -> None:
        self._step()
        if self.commit_error:
            raise NetlinkError(self.commit_error, "test")
        self.commits.append([request.what for request in requests])

    def packet_filter_problem(self) -> str:
        return "" if self.is_filter_there else "this kernel has no nf_tables"

    def has_bridge_filter(self) -> bool:
        return self.is_filter_there

    def base_chains(self) -> list[nft.BaseChain]:
        return self.chains

    def ends_in_refusal(self, chain: nft.BaseChain) -> bool:
        return chain.name in self.refusing

    def forget_flows(self, flows: Sequence[Flows]) -> None:
        self.forgotten += flows

    def open_table_events(self) -> None:
        return None

    def has_ipv6(self) -> bool:
        return self.is_ipv6_there

    def ensure_sysctl(self, name: str, value: str) -> bool:
        try:
            self._step()
        except NetlinkError as error:
            raise SystemFailureError(f"cannot set {name}: {error.strerror}") from error
        is_changed = self.sysctls.get(name) != value
        self.sysctls[name] = value
        return is_changed

    def ensure_forwarding(self, *, ipv6: bool, advertised: Collection[str]) -> list[str]:
        assert not advertised
        names = ["ipv4/ip_forward", *(["ipv6/conf/all/forwarding"] if ipv6 else [])]
        return [name for name in names if self.ensure_sysctl(name, "1")]

    def setup_lock(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def close(self) -> None:
        return


def route(network: str, ifindex: int = 9) -> ra.Route:
    """A route to a network through some link."""
    return ra.Route(
        destination=ipaddress.ip_network(network),
        gateway=None,
        ifindex=ifindex,
        table=ra.RT_TABLE_MAIN,
        kind=ra.RTN_UNICAST,
        protocol=ra.RTPROT_BOOT,
        priority=0,
    )


def _link(index: int, name: str, kind: str) -> rt.Link:
    return rt.Link(index, name, kind, "02:00:00:00:00:01", 1500, is_up=True, master=0, group=0)
