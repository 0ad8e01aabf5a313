"""Numbers of networks: attaching, many ports, traffic through a published port, names.

Traffic comes from a network namespace of its own on a wire to the host, as from another machine.
For traffic each engine has a host of its own, too: on one host every packet of the one would also
pass the rules of the other.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from bench import engines, material
from bench.api import ApiClient
from bench.engines import IMAGE, Daemon
from bench.processes import MeasureError, run
from bench.rows import Field
from bench.targets import Number, Target

NAMES: Final = ("n-attach", "n-many", "n-throughput", "n-latency", "n-dns")
"""Of the numbers, as ``--only`` takes them."""

_PROGRAM: Final = str(Path(__file__).with_name("netload.py"))
_PORTS: Final = {"kedge": 18510, "dockerd": 18511}
_HOST: Final = "198.51.100.1"
_OUTSIDE: Final = "198.51.100.2"
_FIRST_PORT: Final = 21000
_INSIDE: Final = "80/tcp"
_MANY: Final = 200
_STARTS: Final = 25
_AROUND: Final = 10
_QUESTIONS: Final = 5000
_BURST_S: Final = "0.3"
_BURSTS: Final = "3"
_TRAFFIC: Final = frozenset({"n-throughput", "n-latency"})
_TURNS_OF: Final = {"n-many": 1, "n-throughput": 15, "n-latency": 15}
"""How often somebody's turn comes, where it is not as often as with other numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """An engine, and the machine its traffic comes from."""

    name: str
    daemon: Daemon | None
    within: Sequence[str] = ()
    """What runs a command on the engine's host."""
    outside: int = 0
    """Process id of somebody on that machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An engine with a container that takes connections at a published port."""

    client: ApiClient
    container: int
    """Process id of the container's first process."""
    engine: int
    """Process id of the engine."""
    port: int
    outside: int
    """Process id of somebody on the machine its traffic comes from."""


class _Start(Protocol):
    """Starts an engine by a command that comes before its own."""

    def __call__(
        self, *, within: Sequence[str]
    ) -> contextlib.AbstractContextManager[Daemon | None]: ...


def measure(field: Field, wanted: set[str], runs: int, root: Path) -> list[Number]:
    """Return the wanted numbers, measured; engines with a host of their own live below ``root``."""
    found: list[Number] = []
    together, apart = wanted.difference(_TRAFFIC), wanted.intersection(_TRAFFIC)
    if together.intersection(NAMES):
        with contextlib.ExitStack() as stack:
            daemons = {"kedge": field.kedged, "dockerd": field.dockerd}
            sides = [Side(name=name, daemon=daemon) for name, daemon in daemons.items()]
            found += _measure(stack, sides, together, runs)
    if apart:
        with contextlib.ExitStack() as stack:
            root.mkdir()
            kedged, dockerd = engines.open_kedged, engines.open_dockerd
            sides = [
                _side(stack, "kedge", partial(kedged, root / "k", material.busybox_context())),
                _side(stack, "dockerd", partial(dockerd, root / "d", material.busybox_root())),
            ]
            found += _measure(stack, sides, apart, runs)
    return found


def _measure(
    stack: contextlib.ExitStack, sides: list[Side], wanted: set[str], runs: int
) -> list[Number]:
    found: list[Number] = []
    peers: dict[str, Peer] = {}
    skipped = {"podman": "no engine to ask over the API"}
    for side in sides:
        if side.daemon is None:
            continue
        try:
            peers[side.name] = stack.enter_context(_peer(side, side.daemon))
        except (MeasureError, OSError) as failure:
            skipped[side.name] = f"failed: {failure}"
    for name, make in _NUMBERS.items():
        if name in wanted:
            number = make(peers)
            number.skipped |= skipped
            number.measure(_TURNS_OF.get(name, runs))
            found.append(number)
    return found


def _side(stack: contextlib.ExitStack, name: str, start: _Start) -> Side:
    """Start an engine on a host of its own, with another machine on a wire to it."""
    host, outside = stack.enter_context(_machine()), stack.enter_context(_machine())
    _connect(host, outside)
    within = _in(host)
    daemon = stack.enter_context(start(within=within))
    return Side(name=name, daemon=daemon, within=within, outside=outside)


def _attach(peers: dict[str, Peer]) -> Number:
    return Number(
        title="a bridge and a published port add to a start",
        unit="ms",
        probes={name: _bound(_attached, peer) for name, peer in peers.items()},
        target=Target(at_most=8),
    )


def _attached(peer: Peer) -> float:
    """Return how much longer a start takes than one with a network of nothing but loopback.

    The starts take turns, and compared is the best of each: a busy machine makes a start longer by
    more than what is looked for. Everything is made before and removed after, because a removal
    goes on in the background and would be part of the next start.
    """
    plain = [_make(peer, {"NetworkMode": "none"}) for _ in range(_STARTS)]
    joined = [_make(peer, _publishing(_FIRST_PORT + number)) for number in range(_STARTS)]
    try:
        # The first one with a network makes the bridge.
        _start(peer, _make(peer, _publishing(_FIRST_PORT + _STARTS)))
        spent = [
            (_start(peer, without), _start(peer, within))
            for without, within in zip(plain, joined, strict=True)
        ]
        without, within = (min(each) for each in zip(*spent, strict=True))
        return within - without
    finally:
        _remove_all(peer.client, keep=peer.container)


def _many(peers: dict[str, Peer]) -> Number:
    return Number(
        title=f"a start with {_MANY} containers and ports, as part of the tenth's time",
        unit="times",
        probes={name: _bound(_crowded, peer) for name, peer in peers.items()},
        target=Target(at_most=1.1),
    )


def _crowded(peer: Peer) -> float:
    try:
        spent = [
            _start(peer, _make(peer, _publishing(_FIRST_PORT + number)))
            for number in range(_MANY + _AROUND)
        ]
    finally:
        _remove_all(peer.client, keep=peer.container)
    # The best of each: the two are a minute apart, and the machine is never as quiet twice.
    return min(spent[_MANY:]) / min(spent[5 : 5 + _AROUND])


def _throughput(peers: dict[str, Peer]) -> Number:
    return Number(
        title="TCP through a published port from another machine",
        unit="MB/s",
        probes={
            name: _bound(_load, peer.outside, "send", _HOST, str(peer.port), _BURST_S, _BURSTS)
            for name, peer in peers.items()
        },
        target=Target(times=0.9),
        more_is_better=True,
    )


def _latency(peers: dict[str, Peer]) -> Number:
    return Number(
        title="a question and its answer through a published port",
        unit="us",
        probes={
            name: _bound(_load, peer.outside, "turns", _HOST, str(peer.port), "2000")
            for name, peer in peers.items()
        },
        target=Target(times=0.9),
    )


def _dns(peers: dict[str, Peer]) -> Number:
    return Number(
        title="names answered per second of the engine's processor time",
        unit="per s",
        probes={name: _bound(_answers, peer) for name, peer in peers.items()},
        target=Target(at_least=5000),
        more_is_better=True,
    )


def _answers(peer: Peer) -> float:
    before = _cpu_s(peer.engine)
    _load(peer.container, "dns", "bench-server", str(_QUESTIONS))
    return _QUESTIONS / (_cpu_s(peer.engine) - before)


_NUMBERS: Final[dict[str, Callable[[dict[str, Peer]], Number]]] = {
    "n-attach": _attach,
    "n-many": _many,
    "n-throughput": _throughput,
    "n-latency": _latency,
    "n-dns": _dns,
}


def _bound(call: Callable[..., float], *arguments: object) -> Callable[[], float]:
    return lambda: call(*arguments)


def _load(pid: int, *words: str) -> float:
    """Run the load in a process's network namespace; return its figure."""
    return float(run([*_in(pid), sys.executable, _PROGRAM, *words]))


def _publishing(port: int) -> dict[str, object]:
    return {"NetworkMode": "bridge", "PortBindings": {_INSIDE: [{"HostPort": str(port)}]}}


def _make(peer: Peer, host: dict[str, object]) -> str:
    """Make a container; return its id."""
    request = {"Image": IMAGE, "Cmd": ["sleep", "3600"], "HostConfig": host}
    # dockerd 20.10 publishes only what is exposed, too.
    request["ExposedPorts"] = {_INSIDE: {}} if "PortBindings" in host else {}
    made = json.loads(peer.client.ask("POST", "/containers/create", document=request))
    return str(made["Id"])


def _start(peer: Peer, container: str) -> float:
    """Start a container; return the milliseconds it took."""
    begin = time.perf_counter()
    peer.client.ask("POST", f"/containers/{container}/start")
    return (time.perf_counter() - begin) * 1000


def _remove_all(client: ApiClient, *, keep: int) -> None:
    for each in json.loads(client.ask("GET", "/containers/json", {"all": "1"})):
        shown = json.loads(client.ask("GET", f"/containers/{each['Id']}/json"))
        if shown["State"]["Pid"] != keep and shown["Config"]["Cmd"] == ["sleep", "3600"]:
            client.ask("DELETE", f"/containers/{each['Id']}", {"force": "1"})


@contextlib.contextmanager
def _peer(side: Side, daemon: Daemon) -> Iterator[Peer]:
    """Start the engine's server container, and the load's other end in its namespace."""
    client, port = daemon.client(), _PORTS[side.name]
    host = _publishing(port) | {"NetworkMode": "bench-net"}
    request = {"Image": IMAGE, "Cmd": ["sleep", "3600"], "HostConfig": host}
    request["ExposedPorts"] = {_INSIDE: {}}
    client.ask("POST", "/networks/create", document={"Name": "bench-net"})
    made = client.ask("POST", "/containers/create", {"name": "bench-server"}, document=request)
    path = f"/containers/{json.loads(made)['Id']}"
    client.ask("POST", f"{path}/start")
    pid = int(json.loads(client.ask("GET", f"{path}/json"))["State"]["Pid"])
    words = [*_in(pid), sys.executable, _PROGRAM, "serve", "80"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
        try:
            if server.stdout is None or server.stdout.readline() != b"ready\n":
                raise MeasureError("the load's server does not start")
            yield Peer(
                client=client,
                container=pid,
                engine=_owner(side.within, daemon),
                port=port,
                outside=side.outside,
            )
        finally:
            server.kill()
            client.ask("DELETE", path, {"force": "1"})
            client.ask("DELETE", "/networks/bench-net")


@contextlib.contextmanager
def _machine() -> Iterator[int]:
    """Make a machine without a wire; yield the id of a process in its namespace."""
    script = "ip link set lo up; echo; exec sleep 3600"
    with subprocess.Popen(["unshare", "-n", "sh", "-c", script], stdout=subprocess.PIPE) as machine:
        try:
            if machine.stdout is not None:
                machine.stdout.readline()
            yield machine.pid
        finally:
            # Its wires go with the namespace.
            machine.kill()


def _connect(host: int, outside: int) -> None:
    ends = ((host, "kbench0", _HOST), (outside, "eth0", _OUTSIDE))
    pair = ["ip", "link", "add", "kbench0", "type", "veth", "peer", "name", "eth0"]
    run([*_in(host), *pair, "netns", str(outside)])
    for machine, link, address in ends:
        run([*_in(machine), "ip", "addr", "add", f"{address}/24", "dev", link])
        run([*_in(machine), "ip", "link", "set", link, "up"])


def _in(machine: int) -> list[str]:
    """Return what runs a command in a process's network namespace."""
    return ["nsenter", "-t", str(machine), "-n"]


def _owner(within: Sequence[str], daemon: Daemon) -> int:
    """Return the process that listens on the engine's socket."""
    shown = run([*within, "ss", "-xlpH", "src", str(daemon.socket)])
    _, _, rest = shown.partition("pid=")
    if not rest:
        raise MeasureError(f"nobody listens on {daemon.socket}")
    return int(rest.partition(",")[0])


def _cpu_s(pid: int) -> float:
    """Return the processor time of a process's threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
