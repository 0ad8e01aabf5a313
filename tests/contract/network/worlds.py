"""The two hosts the contract is played on: Python dictionaries, and the kernel in a namespace.

Both can be told to lose the engine, or to refuse, at the n-th thing it asks of the kernel.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kedge.errdefs import KedgeError
from kedge.lib.database import Database
from kedge.lib.ids import new_id
from kedge.linux import rtnetlink as rt
from kedge.linux.netlink import NETLINK_ROUTE, NetlinkError, NetlinkSocket, Request
from kedge.network.controller import NetworkController
from kedge.network.ipam import parse_address, parse_network
from kedge.network.kernel import LinuxKernel
from kedge.network.model import Driver, Endpoint, NetworkSpec, Subnet
from tests.integration.network_live.lab import Namespace
from tests.unit.network.fake_kernel import Crash, FakeKernel

WIRE: Final = "wire0"
NAME: Final = "lan"


class FaultyKernel(LinuxKernel):
    """The real kernel, through whatever the fault happens to."""

    def __init__(self) -> None:
        super().__init__()
        self.crash_at = -1
        self.refuse_at = -1
        self.steps = 0
        self.refuses_removal = False

    def _step(self, what: str) -> None:
        self.steps += 1
        if self.steps == self.crash_at:
            raise Crash
        if self.steps == self.refuse_at:
            raise NetlinkError(errno.EPERM, what)

    def batch(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._step(request.what)
            super().batch([request])

    def remove(self, requests: Sequence[Request]) -> None:
        if self.refuses_removal:
            raise NetlinkError(errno.EBUSY, requests[0].what)
        super().remove(requests)

    def batch_in(self, descriptor: int, requests: Sequence[Request]) -> None:
        for request in requests:
            self._step(request.what)
            super().batch_in(descriptor, [request])

    def commit(self, requests: Sequence[Request]) -> None:
        self._step("the packet filter")
        super().commit(requests)


@dataclass(slots=True)
class Lab:
    """An engine's networks on one host, and the namespaces of its containers."""

    directory: Path
    driver: Driver
    options: dict[str, str]
    is_real: bool
    spaces: dict[str, Namespace] = field(default_factory=dict[str, Namespace])
    kernel: FakeKernel | FaultyKernel = field(init=False)
    database: Database = field(init=False)
    networks: NetworkController = field(init=False)
    before: frozenset[str] = field(init=False)
    _fake: FakeKernel = field(default_factory=FakeKernel)

    def __post_init__(self) -> None:
        if self.is_real:
            here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            with NetlinkSocket(NETLINK_ROUTE) as route:
                far = rt.VethPeer("far0", here, "02:00:00:00:00:99")
                route.batch([rt.new_veth(WIRE, far, mtu=1500)])
            os.close(here)
        else:
            self._fake.present[WIRE] = self._fake.present["lo"]._replace(ifindex=9, name=WIRE)
        self.database = Database(str(self.directory / "state.db"))
        self.kernel = self._kernel()
        self.before = self.links()
        self.networks = self._controller()

    @property
    def has_links(self) -> bool:
        """Whether a container in the network gets a link of its own."""
        return self.driver not in {Driver.HOST, Driver.NULL}

    @property
    def network(self) -> str:
        """What the network is called."""
        return {Driver.HOST: "host", Driver.NULL: "none"}.get(self.driver, NAME)

    def spec(self) -> NetworkSpec:
        """What the network is made of, where it has to be made."""
        options = dict(self.options)
        if self.driver is not Driver.BRIDGE:
            options["parent"] = WIRE
        subnets = (
            Subnet(
                network=parse_network("192.168.77.0/28"),
                gateway=parse_address("192.168.77.1"),
                reserved={"router": parse_address("192.168.77.2")},
            ),
            Subnet(network=parse_network("fd77::/64"), gateway=parse_address("fd77::1")),
        )
        return NetworkSpec(
            name=NAME,
            driver=self.driver,
            subnets=subnets,
            enable_ipv6=True,
            options=options,
            labels={"of": "the contract"},
        )

    def create(self) -> None:
        """Make the network, unless it is one that always exists."""
        if self.has_links:
            self.networks.create_network(self.spec())

    def remove(self) -> None:
        """Remove the network, unless it is one that always exists."""
        if self.has_links:
            self.networks.remove_network(NAME)
            self.networks.drain()

    def endpoint(self) -> Endpoint:
        """Give a new container its place in the network."""
        return self.networks.create_endpoint(new_id(), self.network)

    def attach(self) -> Endpoint:
        """Start a new container in the network."""
        endpoint = self.endpoint()
        self.connect(endpoint)
        return endpoint

    def connect(self, endpoint: Endpoint) -> None:
        """Make the link of an endpoint."""
        if self.driver is Driver.HOST:
            return
        netns_fd, rtnl_fd = self.sockets(endpoint)
        self.networks.connect(endpoint.container_id, netns_fd=netns_fd, rtnl_fd=rtnl_fd)

    def sockets(self, endpoint: Endpoint) -> tuple[int, int]:
        """Return a container's namespace and a route socket in it."""
        if not self.is_real:
            return 10, 11
        if endpoint.container_id not in self.spaces:
            self.spaces[endpoint.container_id] = Namespace()
        space = self.spaces[endpoint.container_id]
        return space.netns_fd, space.rtnl_fd

    def detach(self, endpoint: Endpoint) -> None:
        """End a container: its namespace goes, and it has no place any more."""
        self.networks.remove_endpoint(endpoint.container_id)
        self.end(endpoint)
        self.networks.drain()

    def end(self, endpoint: Endpoint) -> None:
        """Have a container's namespace go, as with its last process."""
        space = self.spaces.pop(endpoint.container_id, None)
        if space is not None:
            space.close()

    def links(self) -> frozenset[str]:
        """Return the names of the host's links."""
        return frozenset(link.name for link in self.kernel.links())

    def restart(self, active: Collection[str] = ()) -> None:
        """Lose the engine without a clean end; the next one finds the host as it was left."""
        self.networks.close()
        self.kernel = self._kernel()
        self.networks = self._controller()
        self.networks.restore(active)
        self.networks.drain()

    def close(self) -> None:
        """Take everything down."""
        self.networks.close(remove=True)
        self.database.close()
        for space in self.spaces.values():
            space.close()

    def _kernel(self) -> FakeKernel | FaultyKernel:
        if self.is_real:
            return FaultyKernel()
        self._fake.crash_at = self._fake.refuse_at = -1
        self._fake.refuses_removal = False
        return self._fake

    def _controller(self) -> NetworkController:
        return NetworkController(self.database, "/srv/kedge-contract", kernel=self.kernel)


def play(lab: Lab) -> None:
    """A day in the life of a network; what the kernel refuses is taken back as the engine does."""
    lab.create()
    first = lab.attach()
    second = lab.endpoint()
    try:
        lab.connect(second)
    except KedgeError:
        lab.detach(second)
        raise
    lab.detach(first)


def clear(lab: Lab) -> None:
    """Have all containers go, and the network."""
    for endpoint in lab.networks.endpoints():
        lab.detach(endpoint)
    lab.networks.drain()
    with contextlib.suppress(KedgeError):
        lab.remove()


def names_inside(lab: Lab, endpoint: Endpoint) -> set[str]:
    """Return the names of the links a container sees."""
    space = lab.spaces[endpoint.container_id]
    return space.run(lambda: {name for _, name in socket.if_nameindex()})
