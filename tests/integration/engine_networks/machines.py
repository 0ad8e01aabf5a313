"""Machines on one wire, each a network namespace; on some of them runs a real engine.

Everything a machine does to its network stays in its namespace and goes with it, so a test sees
the whole of what an engine makes, and another engine on the real host none of it.
"""

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path

from tests.engine import Engine, busybox_context
from tests.integration.network_live.lab import Namespace, Server, Space


class Machine:
    """A machine at 192.0.2.N and 2001:db8::N, with a default route to the gateway, number 1."""

    def __init__(self, number: int) -> None:
        self.space = Namespace()
        self.number = number
        self.ipv4, self.ipv6 = f"192.0.2.{number}", f"2001:db8::{number}"

    def sh(self, commands: str) -> str:
        """Run commands in the machine's namespace, all of which must succeed."""
        return self.space.run(partial(run_shell, commands))

    def close(self) -> None:
        self.space.close()


class EngineMachine(Machine):
    """A machine with an engine of its own, which has the image ``busybox``."""

    def __init__(self, number: int, root: Path, *flags: str) -> None:
        super().__init__(number)
        self.engine = Engine(root, *flags)
        self.prepare: Callable[[], object] = bool
        """Done first in the thread that starts the engine; what it changes, the engine inherits."""

    def start(self) -> None:
        """Start the engine, or start it again, in the machine's namespace."""

        def start() -> None:
            self.prepare()
            self.engine.start()

        self.space.run(start)

    def run(self, name: str, *flags: str) -> Space:
        """Start a container that sleeps, and return its network."""
        self.engine.docker("run", "-d", "--name", name, *flags, "busybox", "sleep", "6000")
        return self.network_of(name)

    def network_of(self, name: str) -> Space:
        """Return a running container's network, for programs of the test's own."""
        state = self.engine.get(f"/containers/{name}/json")["State"]
        assert isinstance(state, dict)
        return Space(os.open(f"/proc/{state['Pid']}/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    def clear(self) -> None:
        """Remove every container and every network of the user's."""
        names = self.engine.docker("ps", "-aq").stdout.split()
        if names:
            self.engine.docker("rm", "-f", *names)
        self.engine.docker("network", "prune", "-f")


@contextlib.contextmanager
def wired(*machines: Machine) -> Generator[None]:
    """Put machines on one wire; number 1 is their gateway, if it is among them."""
    switch = Namespace()
    switch.run(partial(run_shell, "ip link add wire type bridge; ip link set wire up"))
    for machine in machines:
        port = f"port{machine.number}"
        # By descriptor of this process: the namespaces have no names.
        there = f"/proc/{os.getpid()}/fd/{machine.space.netns_fd}"
        switch.run(
            partial(
                run_shell,
                f"ip link add {port} master wire up type veth peer name eth0 netns {there}",
            )
        )
        machine.sh(
            "ip link set lo up; ip link set eth0 up;"
            f"ip addr add {machine.ipv4}/24 dev eth0; ip addr add {machine.ipv6}/64 dev eth0 nodad"
        )
        if machine.number != 1:
            machine.sh("ip route add default via 192.0.2.1; ip route add default via 2001:db8::1")
    try:
        yield
    finally:
        switch.close()


@contextlib.contextmanager
def engine_on(
    machine_number: int, *flags: str, prepare: Callable[[], object] = bool
) -> Generator[EngineMachine]:
    """A machine whose engine runs until the end; `wired` gives it an address."""
    with tempfile.TemporaryDirectory(prefix="m-") as root:
        machine = EngineMachine(machine_number, Path(root), *flags)
        machine.prepare = prepare
        machine.start()
        try:
            machine.engine.build_tar(busybox_context(), "busybox")
            yield machine
        finally:
            code = machine.space.run(machine.engine.stop)
            machine.close()
            assert code == 0, machine.engine.log.read_text()


@contextlib.contextmanager
def serving(space: Space, *ports: int, udp: Sequence[int] = ()) -> Generator[Space]:
    """Answer on a container's ports with each client's address; then let go of its network."""
    servers = [Server(space, port) for port in ports]
    servers += [Server(space, port, socket.SOCK_DGRAM) for port in udp]
    try:
        yield space
    finally:
        for server in servers:
            server.close()
        space.close()


def run_shell(commands: str) -> str:
    """Return what commands print, all of which must succeed."""
    done = subprocess.run(["sh", "-ec", commands], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{commands}: {done.stderr}"
    return done.stdout
