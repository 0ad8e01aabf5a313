"""A host, containers and an outside, all in network namespaces of the test's own.

The test runs in a thread that has unshared its network; "the host" is that namespace. Nothing
outlives the thread: the namespaces die with their last descriptor.
"""

import contextlib
import errno
import functools
import ipaddress
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import ParamSpec, TypeVar

from kedge.lib.database import Database
from kedge.lib.ids import new_id
from kedge.linux import rtnetlink as rt
from kedge.linux import rtnetlink_addresses as ra
from kedge.linux.namespaces import CLONE_NEWNET, setns, unshare
from kedge.linux.netlink import NETLINK_ROUTE, NetlinkError, NetlinkSocket
from kedge.network.controller import NetworkController
from kedge.network.model import NetworkOptions, PortBinding, PublishedPort

P = ParamSpec("P")
T = TypeVar("T")

# What most tests publish.
WEB = PortBinding(protocol="tcp", container_port=80, host_port=8080)
# For what is to happen; nothing waits it out.
TIMEOUT_S = 60.0


def in_thread(call: Callable[[], T]) -> T:
    """Return what ``call`` returns in a thread of its own; raise what it raises."""
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def own_network(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test in a thread with a network namespace of its own, loopback up."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        def body() -> None:
            unshare(CLONE_NEWNET)
            with NetlinkSocket(NETLINK_ROUTE) as route:
                route.batch([rt.set_link(rt.LOOPBACK_INDEX, up=True)])
            test(*args, **kwargs)

        in_thread(body)

    return run


@functools.cache
def has_ipvlan() -> bool:
    """Tell whether the kernel can make such a link; asked in a namespace that goes."""
    answers: list[bool] = []

    def probe() -> None:
        request = rt.new_ipvlan(rt.Child("probe", rt.LOOPBACK_INDEX), mode="l2")
        try:
            with NetlinkSocket(NETLINK_ROUTE) as route:
                route.batch([request])
        except NetlinkError as error:
            answers.append(error.errno != errno.EOPNOTSUPP)
        else:
            answers.append(True)

    in_thread(own_network(probe))
    return answers[0]


class Space:
    """Another network namespace, known by a descriptor."""

    def __init__(self, netns_fd: int) -> None:
        self.netns_fd = netns_fd

    def close(self) -> None:
        os.close(self.netns_fd)

    def run(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns inside."""

        def inside() -> T:
            setns(self.netns_fd, CLONE_NEWNET)
            return call()

        return in_thread(inside)


class Namespace(Space):
    """A network namespace of the test's own, as the shim hands it to the engine."""

    def __init__(self) -> None:
        def make() -> tuple[int, socket.socket]:
            unshare(CLONE_NEWNET)
            descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            return descriptor, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)

        netns_fd, self._rtnl = in_thread(make)
        super().__init__(netns_fd)
        self.rtnl_fd = self._rtnl.fileno()

    def close(self) -> None:
        super().close()
        self._rtnl.close()


class Host:
    """The namespace the test runs in, an engine's network on it, and its containers."""

    def __init__(self, directory: Path, options: NetworkOptions | None = None) -> None:
        self.data_root = str(directory / "root")
        self.options = options or NetworkOptions()
        self.database = Database(str(directory / "state.db"))
        self.names: dict[str, str] = {}
        self.controller = self._make()
        self.spaces: dict[str, Namespace] = {}
        self._servers: list[Server] = []

    def _make(self) -> NetworkController:
        return NetworkController(
            self.database,
            self.data_root,
            self.options,
            container_name=lambda container_id: self.names.get(container_id, container_id[:12]),
        )

    def crash(self) -> None:
        """Lose the engine without a clean end, and start another one on the same records."""
        self.controller.close()
        self.controller = self._make()

    def run(self, name: str, *ports: PortBinding, network: str = "bridge") -> str:
        """Start a "container" and return its id."""
        container_id = new_id()
        self.names[container_id] = name
        self.controller.create_endpoint(container_id, network)
        self.spaces[name] = Namespace()
        self.connect(name, *ports)
        return container_id

    def connect(self, name: str, *ports: PortBinding) -> tuple[PublishedPort, ...]:
        space = self.spaces[name]
        return self.controller.connect(
            self.id(name),
            netns_fd=space.netns_fd,
            rtnl_fd=space.rtnl_fd,
            ports=ports,
            name=name,
        )

    def id(self, name: str) -> str:
        return next(key for key, value in self.names.items() if value == name)

    def address(self, name: str, version: int = 4) -> str:
        (endpoint, *_) = self.controller.endpoints(container_id=self.id(name))
        interface = endpoint.ipv4 if version == 4 else endpoint.ipv6
        assert interface is not None
        return str(interface.ip)

    def serve(self, name: str, port: int, kind: int = socket.SOCK_STREAM) -> None:
        """Answer every client of a container's port with the client's address."""
        self._servers.append(Server(self.spaces[name], port, kind))

    def close(self) -> None:
        for server in self._servers:
            server.close()
        self.controller.close(remove=True)
        self.database.close()
        for space in self.spaces.values():
            space.close()


@contextlib.contextmanager
def host(directory: Path, options: NetworkOptions | None = None) -> Generator[Host]:
    """A host whose engine takes everything down at the end."""
    machine = Host(directory, options)
    try:
        yield machine
    finally:
        machine.close()


class Server:
    """Tells each client the address it seems to come from, IPv4 and IPv6."""

    def __init__(self, space: Space, port: int, kind: int = socket.SOCK_STREAM) -> None:
        def listen() -> socket.socket:
            server = socket.socket(socket.AF_INET6, kind)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                server.listen(64)
            return server

        self._socket = space.run(listen)
        self._kind = kind
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(1)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                if self._kind == socket.SOCK_STREAM:
                    client, address = self._socket.accept()
                    with client:
                        client.sendall(_plain(address[0]).encode())
                else:
                    _data, address = self._socket.recvfrom(100)
                    if address is None:  # the socket was shut down
                        return
                    self._socket.sendto(_plain(address[0]).encode(), address)


def ask(address: str, port: int, kind: int = socket.SOCK_STREAM, source: str = "") -> str:
    """Return what a `Server` there says: the address this client comes from."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as client:
        client.settimeout(TIMEOUT_S)
        if source:
            client.bind((source, 0))
        client.connect((address, port))
        if kind == socket.SOCK_DGRAM:
            client.send(b"?")
        return client.recv(200).decode()


def is_reachable(address: str, port: int, timeout_s: float = 0.3) -> bool:
    """Tell whether a TCP connection can be made."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        return client.connect_ex((address, port)) == 0


def reaches(address: str, port: int) -> bool:
    """Tell whether a TCP connection can be made; to be used where it should, it waits for it."""
    return is_reachable(address, port, TIMEOUT_S)


def shell(commands: str) -> None:
    """Run commands in the calling thread's namespace; some may fail."""
    subprocess.run(["sh", "-c", commands], check=False, capture_output=True)


class Outside(Namespace):
    """Another machine on the host's uplink ``eth0``: 192.0.2.2 beside the host's 192.0.2.1."""

    HOST4 = "192.0.2.1"
    HOST6 = "2001:db8::1"
    ADDRESS4 = "192.0.2.2"
    ADDRESS6 = "2001:db8::2"

    def __init__(self, mtu: int = 1400) -> None:
        super().__init__()
        peer = rt.VethPeer("wire", self.netns_fd, "02:00:00:00:00:02")
        with (
            NetlinkSocket(NETLINK_ROUTE) as here,
            NetlinkSocket(NETLINK_ROUTE, descriptor=self.rtnl_fd) as there,
        ):
            here.batch([rt.new_veth("eth0", peer, mtu=mtu)])
            for route, name, four, six, gateways in (
                (here, "eth0", self.HOST4, self.HOST6, (self.ADDRESS4, self.ADDRESS6)),
                (there, "wire", self.ADDRESS4, self.ADDRESS6, ()),
            ):
                index = rt.parse_link(route.query(rt.get_link(name))[0]).ifindex
                route.batch(
                    [
                        rt.set_link(rt.LOOPBACK_INDEX, up=True),
                        rt.set_link(index, up=True),
                        ra.new_address(index, ipaddress.ip_interface(f"{four}/24")),
                        ra.new_address(index, ipaddress.ip_interface(f"{six}/64")),
                        *(
                            ra.new_route(
                                ipaddress.ip_network("::/0" if ":" in gateway else "0.0.0.0/0"),
                                ifindex=index,
                                gateway=ipaddress.ip_address(gateway),
                            )
                            for gateway in gateways
                        ),
                    ]
                )


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")
