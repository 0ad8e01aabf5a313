"""Numbers of Compose: a page and its store up and down, listing, and many services in a chain.

Docker's side is Docker Compose where `scripts/test-tools` has built it, or Debian's docker-compose.
"""

import contextlib
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.engines import IMAGE, KEDGE_CLI, Daemon
from bench.processes import MeasureError, run
from bench.rows import Field
from bench.targets import Number, Target

NAMES: Final = ("c-up", "c-down", "c-ps", "c-config", "c-chain")
"""Of the numbers, as ``--only`` takes them."""

_PORTS: Final = {"kedge": 18480, "dockerd": 18481}
_SERVICES: Final = 50
_DEPTH: Final = 10
_ANSWER_S: Final = 30
_STACK: Final = f"""
services:
  web:
    image: {IMAGE}
    init: true
    command: sh -c "mkdir -p /www && echo page >/www/index.html && exec httpd -f -p 80 -h /www"
    ports: ["127.0.0.1:%d:80"]
    environment: {{STORE: redis}}
    depends_on: [redis]
  redis:
    image: {IMAGE}
    init: true
    command: sleep 3600
    volumes: ["data:/data"]
volumes: {{data: }}
"""


def measure(field: Field, wanted: set[str], runs: int) -> list[Number]:
    """Return the wanted numbers, measured."""
    found: list[Number] = []
    with contextlib.ExitStack() as stack:
        if not wanted.intersection(NAMES):
            return found
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kedge-stacks-")))
        peers = _peers(field, folder)
        for name, prepare in (
            ("c-up", _up),
            ("c-down", _down),
            ("c-ps", _ps),
            ("c-config", _config),
            ("c-chain", _chain),
        ):
            if name in wanted:
                number = prepare(peers)
                number.skipped |= _skipped(field, peers)
                number.measure(runs)
                found.append(number)
        for peer in peers.values():
            peer.clean()
    return found


class Peer:
    """Somebody's compose command, with a project of two services and one of many."""

    def __init__(
        self, words: Sequence[str], environment: dict[str, str], folder: Path, port: int
    ) -> None:
        """Write the project's files."""
        self._words = tuple(words)
        self._environment = environment
        self._port = port
        self._small, self._large = folder / "small", folder / "large"
        for place, text in ((self._small, _STACK % port), (self._large, _chained())):
            place.mkdir(parents=True)
            (place / "docker-compose.yml").write_text(text)

    def small(self, *words: str) -> float:
        """Run a command on the small project; return its seconds."""
        return self._run(self._small, words)

    def large(self, *words: str) -> float:
        """Run a command on the large project; return its seconds."""
        return self._run(self._large, words)

    def _run(self, place: Path, words: Sequence[str]) -> float:
        begin = time.perf_counter()
        file = str(place / "docker-compose.yml")
        run([*self._words, "-f", file, *words], environment=self._environment, timeout_s=300)
        return time.perf_counter() - begin

    def page(self) -> float:
        """Return the seconds until the page answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        begin = time.perf_counter()
        while True:
            try:
                with opener.open(f"http://127.0.0.1:{self._port}/", timeout=5) as answer:
                    answer.read()
                return time.perf_counter() - begin
            except OSError:
                if time.perf_counter() - begin > _ANSWER_S:
                    raise MeasureError("the page does not answer") from None
                time.sleep(0.002)

    def clean(self) -> None:
        """Take everything down."""
        for place in (self._small, self._large):
            with contextlib.suppress(MeasureError):
                self._run(place, ["down", "-v", "-t", "0"])


def _chained() -> str:
    lines = ["services:"]
    for number in range(_SERVICES):
        lines.append(f"  s{number}:")
        lines.append(f"    {{image: {IMAGE}, init: true, command: sleep 3600,")
        before = number - _SERVICES // _DEPTH
        lines.append(f"     depends_on: [{f's{before}' if before >= 0 else ''}]}}")
    return "\n".join(lines) + "\n"


def _peers(field: Field, folder: Path) -> dict[str, Peer]:
    found = {
        "kedge": Peer(
            (*KEDGE_CLI, "compose"), field.kedged.environment, folder / "k", _PORTS["kedge"]
        )
    }
    words = _docker_compose()
    if field.dockerd is not None and words:
        environment = {**field.dockerd.environment, "DOCKER_HOST": _host(field.dockerd)}
        found["dockerd"] = Peer(words, environment, folder / "d", _PORTS["dockerd"])
    return found


def _host(daemon: Daemon) -> str:
    return f"unix://{daemon.socket}"


def _docker_compose() -> tuple[str, ...]:
    tools = os.environ.get("KEDGE_TEST_TOOLS") or str(Path.home() / ".cache/kedge-test-tools")
    plugin = Path(tools) / "cli-plugins" / "docker-compose"
    if plugin.is_file():
        return (str(plugin),)
    debian = shutil.which("docker-compose")
    return (debian,) if debian else ()


def _skipped(field: Field, peers: dict[str, Peer]) -> dict[str, str]:
    found = {"podman": "has no Compose"} if field.podman else {}
    if field.dockerd is not None and "dockerd" not in peers:
        found["dockerd"] = "no Docker Compose"
    return found


def _number(
    title: str, peers: dict[str, Peer], probe: Callable[[Peer], float], target: Target
) -> Number:
    def of(peer: Peer) -> Callable[[], float]:
        return lambda: probe(peer) * 1000

    return Number(
        title=title, unit="ms", probes={name: of(peer) for name, peer in peers.items()},
        target=target,
    )  # fmt: skip


def _up(peers: dict[str, Peer]) -> Number:
    def probe(peer: Peer) -> float:
        peer.small("down", "-v", "-t", "0")
        return peer.small("up", "-d") + peer.page()

    title = "`compose up -d` of a page and its store, until it answers"
    return _number(title, peers, probe, Target(at_most=1500, times=5))


def _down(peers: dict[str, Peer]) -> Number:
    def probe(peer: Peer) -> float:
        peer.small("up", "-d")
        return peer.small("down")

    title = "`compose down` of the same"
    return _number(title, peers, probe, Target(at_most=1000, times=5))


def _ps(peers: dict[str, Peer]) -> Number:
    def probe(peer: Peer) -> float:
        peer.small("up", "-d")
        return peer.small("ps")

    return _number("`compose ps`", peers, probe, Target(at_most=250))


def _config(peers: dict[str, Peer]) -> Number:
    return _number(
        "`compose config`", peers, lambda peer: peer.small("config"), Target(at_most=250)
    )


def _chain(peers: dict[str, Peer]) -> Number:
    def probe(peer: Peer) -> float:
        spent = peer.large("up", "-d")
        peer.large("down", "-t", "0")
        return spent

    title = f"`compose up -d` of {_SERVICES} services in chains of {_DEPTH}"
    return _number(title, peers, probe, Target(times=4))
