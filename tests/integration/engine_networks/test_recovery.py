"""`kill -9` of the engine amid changes to networks, and a reboot: what is there is what it says."""

import contextlib
import random
import socket
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from typing import Self

import pytest

from kedge.shim.messages import SOCKET_NAME
from tests.engine import DOCKER
from tests.integration.engine_crash.truth import until
from tests.integration.engine_networks.machines import (
    EngineMachine,
    Machine,
    engine_on,
    run_shell,
    serving,
    wired,
)
from tests.integration.engine_networks.netstate import differences, links_of, resolve, told
from tests.integration.network_live.lab import TIMEOUT_S, ask
from tests.integration.restart_live.reboot import reboot

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(DOCKER is None, reason="the docker CLI is not installed"),
]
_ROUNDS = 4
_CHANGES_MAX = 8
_LONGEST_S = 0.1
_NETWORKS = ("red", "blue")
_BOXES = ("one", "two", "three")


@pytest.fixture
def machine() -> Iterator[EngineMachine]:
    with (
        engine_on(1, "--ipv6") as found,
        contextlib.closing(Machine(2)) as neighbour,
        wired(found, neighbour),
    ):
        yield found


def settled(machine: EngineMachine) -> None:
    """Assert that soon everything is as the engine says."""
    wrong: list[str] = []

    def is_right() -> bool:
        wrong[:] = differences(machine)
        return not wrong

    try:
        until(is_right, "the network is as the engine says", 60)
    except AssertionError:
        raise AssertionError("\n".join(wrong)) from None


class Changes:
    """Clients that change networks and their containers, each one after the other."""

    def __init__(self, machine: EngineMachine, seed: int) -> None:
        self._machine = machine
        self._stop = threading.Event()
        self._done: list[str] = []
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._change, args=(random.Random(f"{seed} {number}"),))
            for number in range(3)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def wait_for(self, count: int) -> set[str]:
        """Return the verbs that have worked, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._done) >= count, 60)
            return set(self._done)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _change(self, chance: random.Random) -> None:
        while not self._stop.is_set():
            box, network = chance.choice(_BOXES), chance.choice(_NETWORKS)
            port = chance.choice(("-p 80", "-p 53/udp", "-p 8080:80", "-p 127.0.0.1:8081:80"))
            verbs = (
                f"network create --ipv6 {network}",
                f"network connect {network} {box}",
                f"network disconnect -f {network} {box}",
                f"network rm {network}",
                f"run -d --name {box} {port} --network {network} busybox sleep 6000",
                f"run -d --name {box} {port} busybox sleep 6000",
                f"restart -t0 {box}",
                f"rm -f {box}",
            )
            words = chance.choice(verbs).split()
            if self._machine.engine.docker(*words, check=False).returncode == 0:
                with self._changed:
                    self._done.append(words[1] if words[0] == "network" else words[0])
                    self._changed.notify_all()


def test_after_every_crash_the_network_is_as_the_engine_says(machine: EngineMachine) -> None:
    engine = machine.engine
    machine.run("witness", "-p", "9000:80").close()
    chance = random.Random(5)
    made: set[str] = set()
    for number in range(_ROUNDS):
        with Changes(machine, number) as changes:
            made |= changes.wait_for(chance.randint(2, _CHANGES_MAX))
            threading.Event().wait(chance.uniform(0, _LONGEST_S))
            engine.kill()
        machine.start()
        settled(machine)
    assert made >= {"create", "run"}
    # Nothing is stuck: all of it can be removed, and made again under the same names.
    engine.docker("rm", "-f", *engine.docker("ps", "-aq").stdout.split())
    engine.docker("network", "prune", "-f")
    settled(machine)
    for network in _NETWORKS:
        engine.docker("network", "create", "--ipv6", network)
        machine.run(f"in-{network}", "--network", network, "-p", "80").close()
    settled(machine)


def record(machine: EngineMachine) -> list[tuple[object, ...]]:
    with contextlib.closing(store(machine)) as database:
        return list(database.execute("SELECT * FROM containers"))


def store(machine: EngineMachine) -> sqlite3.Connection:
    return sqlite3.connect(machine.engine.root / "data" / "metadata.db")


def forget_since(machine: EngineMachine, rows: list[tuple[object, ...]]) -> None:
    """Kill the engine as if it had not come to write the containers' records since ``rows``."""
    machine.engine.kill()
    with contextlib.closing(store(machine)) as database, database:
        for row in rows:
            marks = ",".join("?" * len(row))
            database.execute(f"INSERT OR REPLACE INTO containers VALUES ({marks})", row)
    machine.start()


def test_half_a_departure_is_finished_and_half_an_arrival_taken_back(
    machine: EngineMachine,
) -> None:
    engine = machine.engine
    for network in _NETWORKS:
        engine.docker("network", "create", "--ipv6", network)
    machine.run("web", "-p", "8080:80", "--network", "red").close()
    engine.docker("network", "connect", "blue", "web")
    in_both = record(machine)
    engine.docker("network", "disconnect", "red", "web")
    forget_since(machine, in_both)
    settled(machine)
    (endpoint,) = told(machine).endpoints
    assert endpoint.network == engine.get("/networks/blue")["Id"]
    web = machine.network_of("web")
    gateways = "ip route | grep -c default; ip -6 route | grep -c default"
    assert web.run(partial(run_shell, gateways)) == "1\n1\n"
    with serving(web, 80):
        assert machine.space.run(partial(ask, "192.0.2.1", 8080))
    in_blue = record(machine)
    engine.docker("network", "connect", "red", "web")
    forget_since(machine, in_blue)
    settled(machine)
    assert told(machine).endpoints == [endpoint]
    hosts = engine.docker("exec", "web", "grep", "-c", "172[.]", "/etc/hosts").stdout
    assert hosts == "1\n"
    with serving(machine.network_of("web"), 80):
        assert machine.space.run(partial(ask, "192.0.2.1", 8080))
    assert "problem" not in engine.log.read_text()


def test_names_resolve_before_the_rest_of_a_start(machine: EngineMachine) -> None:
    engine = machine.engine
    engine.docker("network", "create", "red")
    machine.run("db", "--network", "red", "--network-alias", "sql").close()
    (addresses,) = (item.addresses for item in told(machine).endpoints)
    with contextlib.closing(machine.run("web", "--network", "red")) as web:
        engine.kill()
        # What looks like the shim of a build step takes the engine's call and says nothing.
        folder = engine.root / "exec" / "shims" / "stray"
        folder.mkdir()
        with socket.socket(socket.AF_UNIX) as stray:
            stray.bind(str(folder / SOCKET_NAME))
            stray.listen()
            stray.settimeout(TIMEOUT_S)
            start = threading.Thread(target=machine.start)
            start.start()
            with stray.accept()[0]:
                found = web.run(partial(resolve, "sql"))
                with contextlib.closing(engine.client()) as client:
                    is_served = client.is_reachable()
        start.join()
    assert found == {item.partition("/")[0] for item in addresses}
    assert not is_served
    assert not folder.exists()
    settled(machine)


def test_a_reboot_gives_back_the_network_that_was(machine: EngineMachine) -> None:
    engine = machine.engine
    subnet = ("--subnet", "10.77.0.0/24", "--subnet", "fd77::/64")
    engine.docker("network", "create", "--ipv6", *subnet, "shop")
    engine.docker("network", "create", "--internal", "back")
    always = ("--restart", "always")
    flags = ("--network", "shop", "--ip", "10.77.0.9", "--ip6", "fd77::9", "--network-alias", "sql")
    machine.run("db", *always, *flags, "-p", "192.0.2.1:5432:5432").close()
    machine.run("web", *always, "--network", "shop", "-p", "8080:80").close()
    machine.run("plain", *always, "-p", "53:53/udp").close()
    machine.run("brief", "-p", "8081:80").close()
    engine.docker("network", "connect", "--ip", "10.77.0.200", "shop", "plain")
    engine.docker("network", "connect", "back", "web")
    settled(machine)
    before = told(machine)
    brief = next(key for key, name in before.names.items() if name == "brief")
    machine.space.run(partial(reboot, engine))
    # All that the kernel had is gone, as it is after a boot.
    machine.sh("nft flush ruleset; sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0")
    assert set(links_of(machine)) == {"lo", "eth0"}
    machine.start()
    until(lambda: len(told(machine).names) == 3, "the containers are back")
    settled(machine)
    after = told(machine)
    assert after.ports == {item for item in before.ports if item[2] != 8081}
    fixed = {"10.77.0.9/24", "fd77::9/64", "10.77.0.200/24"}
    assert fixed <= {address for item in after.endpoints for address in item.addresses}
    places = {(item.container, item.network) for item in before.endpoints}
    assert {(item.container, item.network) for item in after.endpoints} == {
        place for place in places if place[0] != brief
    }
    with contextlib.closing(machine.network_of("web")) as web:
        assert web.run(partial(resolve, "sql")) == {"10.77.0.9", "fd77::9"}
    assert machine.sh("cat /proc/sys/net/ipv4/ip_forward") == "1\n"


def test_what_nobody_speaks_of_is_found(machine: EngineMachine) -> None:
    engine = machine.engine
    machine.run("web", "-p", "8080:80").close()
    settled(machine)
    (bridge,) = (name for name in links_of(machine) if name.startswith("kedge-"))
    table = f"inet {bridge}"
    for damage in (
        "ip link add stray type bridge",
        f"ip link add veth-stray master {bridge} type veth peer name veth-peer",
        f"ip addr add 10.99.0.1/24 dev {bridge}",
        "ip route add 10.98.0.0/24 dev lo",
        f"nft add element {table} bridges '{{ gone }}'",
        f"nft add element {table} ports4 '{{ tcp . 9 : 172.17.0.9 . 9 }}'",
        f"nft add element bridge {bridge} macs '{{ 02:00:00:00:00:09 }}'",
        "nft add table inet kedge-gone",
    ):
        before = len(differences(machine))
        machine.sh(damage)
        assert len(differences(machine)) > before, damage
    # And an engine that starts again clears up what is its own.
    engine.kill()
    machine.start()
    wrong = differences(machine)
    assert [item for item in wrong if "stray" in item and "veth" in item] == []
    machine.sh(
        "ip link del stray; ip route del 10.98.0.0/24 dev lo; nft delete table inet kedge-gone"
    )
    settled(machine)
