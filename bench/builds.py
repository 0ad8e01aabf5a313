"""The numbers of building: nothing changed, one file changed, large contexts, stages, a layer.

dockerd builds with its classic builder, podman with buildah's code; both keep their cache. The
contexts are folders, so each client does what it does for a person.
"""

import functools
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.engines import IMAGE, KEDGE_CLI
from bench.processes import MeasureError, run
from bench.rows import Field
from bench.targets import Number, Target

NAMES: Final = ("b-nothing", "b-change", "b-context", "b-context-again", "b-stages", "b-commit")
"""Of the numbers, as ``--only`` takes them."""

_STEPS: Final = 5
_STAGES: Final = 10
_LAYER_FILES: Final = 20_000
_FILES_IMAGE: Final = "localhost/bench-files"
_BURN: Final = "i=0; while [ $i -lt 250000 ]; do i=$((i+1)); done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A client that builds, and the base image as it knows it."""

    words: tuple[str, ...]
    environment: dict[str, str]

    def build(self, folder: Path, *flags: str) -> float:
        """Build a folder and return the seconds it took."""
        begin = time.perf_counter()
        run([*self.words, "build", "-q", *flags, str(folder)], environment=self.environment)
        return time.perf_counter() - begin

    def rest_of_build(self, folder: Path, line: str) -> float:
        """Build a folder and return the seconds from the moment a step prints ``line``."""
        begin = 0.0
        with subprocess.Popen(
            [*self.words, "build", str(folder)],
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as build:
            for told in build.stdout or ():
                if told.strip() == line:
                    begin = time.perf_counter()
        if build.returncode or not begin:
            raise MeasureError(f"{' '.join(self.words)} build: no {line}")
        return time.perf_counter() - begin


def measure(field: Field, wanted: set[str], folder: Path, runs: int) -> list[Number]:
    """Return the wanted numbers, measured on contexts made below ``folder``."""
    peers = {"kedge": Peer(words=KEDGE_CLI, environment=field.kedged.environment)}
    if field.dockerd is not None:
        peers["dockerd"] = Peer(
            words=field.dockerd.docker_cli, environment=field.dockerd.environment
        )
    if field.podman:
        peers["podman"] = Peer(words=field.podman, environment={})
    folder.mkdir()
    found: list[Number] = []
    for name, make in (
        ("b-nothing", _nothing),
        ("b-change", _change),
        ("b-context", _context),
        ("b-context-again", _context_again),
        ("b-stages", _stages),
        ("b-commit", _commit),
    ):
        if name in wanted:
            number = make(peers, folder / name)
            number.measure(runs)
            found.append(number)
            shutil.rmtree(folder / name)
    return found


def _sources(folder: Path, files: int, size: int) -> None:
    """Write a context of ``files`` files in folders of fifty."""
    data = os.urandom(size)
    for number in range(files):
        path = folder / "src" / f"d{number // 50}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(8, "big") + data[8:])


def _dockerfile(folder: Path, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text("\n".join((f"FROM {IMAGE}", *lines, "")))


def _number(
    title: str, peers: dict[str, Peer], probe: Callable[[Peer], float], target: Target
) -> Number:
    def of(peer: Peer) -> Callable[[], float]:
        return lambda: probe(peer) * 1000

    return Number(
        title=title, unit="ms", target=target, probes={name: of(p) for name, p in peers.items()}
    )


def _nothing(peers: dict[str, Peer], folder: Path) -> Number:
    _dockerfile(folder, "WORKDIR /app", "COPY src /app/src", "RUN ls > /listed", "CMD sh")
    _sources(folder, 2000, 3000)
    for peer in peers.values():
        peer.build(folder)
    title = "`build` with nothing changed, 2,000 files"
    return _number(title, peers, lambda p: p.build(folder), Target(at_most=250, times=3))


def _change(peers: dict[str, Peer], folder: Path) -> Number:
    steps = [f"RUN echo {number} > /n{number}" for number in range(_STEPS)]
    _dockerfile(folder, "RUN true", "COPY one /one", *steps)
    _sources(folder, 500, 3000)
    counter = itertools.count()

    def probe(peer: Peer) -> float:
        (folder / "one").write_text(f"{time.time_ns()} {next(counter)}")
        spent = peer.build(folder)
        return (spent - peer.build(folder)) / (_STEPS + 1)

    title = f"one file changed: each of the {_STEPS + 1} steps after it"
    return _number(title, peers, probe, Target(at_most=60))


def _context(peers: dict[str, Peer], folder: Path) -> Number:
    _dockerfile(folder, "COPY Dockerfile /d")
    _sources(folder, 10_000, 30_000)
    counter = itertools.count()

    def probe(peer: Peer) -> float:
        # A folder of another name has never been sent.
        anew = folder.with_name(f"{folder.name}-{next(counter)}")
        folder.rename(anew)
        try:
            return peer.build(anew)
        finally:
            anew.rename(folder)

    title = "context of 10,000 files, 300 MB: the first transfer"
    return _number(title, peers, probe, Target(times=2))


def _context_again(peers: dict[str, Peer], folder: Path) -> Number:
    _dockerfile(folder, "COPY Dockerfile /d")
    _sources(folder, 10_000, 30_000)
    for peer in peers.values():
        peer.build(folder)
    changed = folder / "src/d0/f0"

    def probe(peer: Peer) -> float:
        changed.write_text(f"{time.time_ns()}")
        return peer.build(folder)

    title = "the same with one file changed"
    return _number(title, peers, probe, Target(at_most=700, times=3))


def _stages(peers: dict[str, Peer], folder: Path) -> Number:
    """Compare ten stages that need nothing of each other with the same ten in a row."""
    folder.mkdir()
    counter = itertools.count()

    def dockerfile(mark: str, *, chained: bool) -> str:
        lines: list[str] = []
        for number in range(_STAGES):
            base = f"s{number - 1}" if chained and number else IMAGE
            lines += [f"FROM {base} AS s{number}", f"RUN echo {mark} > /s{number}; {_BURN}"]
        copies = [f"COPY --from=s{number} /s{number} /" for number in range(_STAGES)]
        return "\n".join([*lines, f"FROM {IMAGE}", *copies, ""])

    def probe(peer: Peer) -> float:
        spent: dict[bool, float] = {}
        for chained in (True, False):
            mark = f"{time.time_ns()}-{next(counter)}"
            (folder / "Dockerfile").write_text(dockerfile(mark, chained=chained))
            spent[chained] = peer.build(folder)
        return spent[True] / spent[False]

    # The others build stage after stage whatever happens: one run tells, and takes a minute.
    once = {name: functools.cache(_bound(probe, peer)) for name, peer in peers.items()}
    return Number(
        title=f"{_STAGES} independent stages against the same in a row",
        unit="times faster",
        more_is_better=True,
        probes=once | {"kedge": _bound(probe, peers["kedge"])},
        target=Target(at_least=min(1.7, 0.85 * (os.cpu_count() or 1))),
    )


def _bound(probe: Callable[[Peer], float], peer: Peer) -> Callable[[], float]:
    return lambda: probe(peer)


def _commit(peers: dict[str, Peer], folder: Path) -> Number:
    """Commit a layer of many files, beside GNU tar and gzip reading the same."""
    folder.mkdir()
    _sources(folder, _LAYER_FILES, 2000)
    counter = itertools.count()
    copy = folder / "again"

    def tar() -> float:
        begin = time.perf_counter()
        with subprocess.Popen(
            ["tar", "-C", folder / "src", "-c", "."], stdout=subprocess.PIPE
        ) as reader:
            subprocess.run(
                ["gzip", "-6"], stdin=reader.stdout, stdout=subprocess.DEVNULL, check=True
            )
        return time.perf_counter() - begin

    # The files are in an image, so that a probe is the commit and no transfer.
    _dockerfile(copy, "COPY src /src")
    (folder / "src").rename(copy / "src")
    for peer in peers.values():
        peer.build(copy, "-t", _FILES_IMAGE)
    (copy / "src").rename(folder / "src")

    def probe(peer: Peer) -> float:
        mark = f"{time.time_ns()}-{next(counter)}"
        # What the command itself takes differs by seconds from run to run: the clock starts when
        # it ends, whose last word in the file is not the word it prints.
        step = f"RUN echo {mark} > /mark && cp -r /src /copied && echo all''done"
        (copy / "Dockerfile").write_text(f"FROM {_FILES_IMAGE}\n{step}\n")
        return peer.rest_of_build(copy, "alldone")

    gzip_ms = min(tar() for _ in range(3)) * 1000
    title = f"commit of a layer of {_LAYER_FILES:,} files (GNU tar and gzip -6: {gzip_ms:.0f})"
    return _number(title, peers, probe, Target(at_most=round(gzip_ms)))
