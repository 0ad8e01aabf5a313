"""Running the programs that are measured, and a place where nothing of them stays behind.

The whole benchmark runs in network, mount and process-id namespaces of its own (`isolate`): the
bridges and packet filter rules of three engines never meet those of the host, and when the
benchmark ends, the kernel takes everything down, however it ended.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Final

_MARK: Final = "KEDGE_BENCH_ISOLATED"
_HYBRID: Final = "/sys/fs/cgroup/unified"


class MeasureError(Exception):
    """A program that is measured did not work; the text is its last line."""


def isolate() -> None:
    """Go on in new namespaces; returns in the process that has them."""
    if os.environ.get(_MARK):
        run(["ip", "link", "set", "lo", "up"])
        if os.path.ismount(_HYBRID):
            # crun refuses to run on a hybrid host; the others do not use the v2 tree there.
            run(["umount", _HYBRID])
        return
    os.environ[_MARK] = "1"
    # An installed kedge has its bytecode; one that may not write any compiles itself at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    os.execvp(words[0], [*words, sys.executable, *sys.argv])  # noqa: S606


def run(
    words: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout_s: float = 120,
) -> str:
    """Return what a program printed.

    Raises:
        MeasureError: It is not there, did not end, or ended with another code than 0.
    """
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env={**os.environ, **(environment or {})},
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasureError(f"{words[0]}: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise MeasureError(
            f"{Path(words[0]).name} {words[1]}: {said[-1] if said else done.returncode}"
        )
    return done.stdout.decode(errors="replace")


class Service:
    """A daemon under a folder of its own, ended by its process id."""

    def __init__(self, words: Sequence[str], log: Path, ready: Callable[[], bool]) -> None:
        """Start it and wait until ``ready`` says so."""
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        deadline = monotonic() + 60
        while not ready():
            if self._process.poll() is not None or monotonic() > deadline:
                self.stop()
                lines = log.read_text(errors="replace").strip().splitlines() or ["no word"]
                raise MeasureError(f"{words[0]} does not start: {lines[-1]}")
            sleep(0.05)

    def stop(self) -> None:
        """Ask it to end and wait for that."""
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def engines_memory_kib(excluded: frozenset[str] = frozenset({"sleep", "pause"})) -> int:
    """Return the proportional memory of all processes here but this one and the containers'."""
    return _memory_kib(("Pss:",), excluded)


def private_memory_kib(excluded: frozenset[str] = frozenset({"sleep", "pause"})) -> int:
    """Return the memory nobody shares, of the same processes."""
    return _memory_kib(("Private_Clean:", "Private_Dirty:"), excluded)


def _memory_kib(keys: tuple[str, ...], excluded: frozenset[str]) -> int:
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (entry / "comm").read_text().strip() in excluded:
                continue
            rollup = (entry / "smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith(keys))
    return total
