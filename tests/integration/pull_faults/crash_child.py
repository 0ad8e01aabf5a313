"""Pulls, removes and opens a store, and kills itself at a given step; run by test_crashes.

A step is a change of the disk: a rename, a new directory, a removal, a flush, or the end of a
transaction. Each job runs in a forked child, so that one start of the interpreter serves all.

Usage: crash_child.py ROOT NAME JOB, where JOB is ``pull`` or ``remove``. Prints how many steps the
job has when nobody disturbs it; exits with 1 and a message at the first wrong state.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from kedge.content.store import ContentStore
from kedge.distribution.pull import Puller
from kedge.images.store import ImageStore
from kedge.lib.database import Database
from kedge.oci.references import parse_reference
from kedge.snapshots.overlay import OverlaySnapshotter

_WATCHED = ("rename", "mkdir", "unlink", "rmdir", "fsync")


class Steps:
    """Counts steps and kills the process before the one that is asked for."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self.last = last

    def step(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Count from now on."""
        for name in _WATCHED:
            self._watch_call(name)
        original = Database.transaction

        def transaction(database: Database, *, durable: bool = True) -> object:
            self.step()
            return original(database, durable=durable)

        Database.transaction = transaction  # type: ignore[method-assign, assignment]

    def _watch_call(self, name: str) -> None:
        original = getattr(os, name)

        def counted(*arguments: object, **options: object) -> object:
            self.step()
            return original(*arguments, **options)

        setattr(os, name, counted)


class Engine:
    """The stores of an engine, opened as after a start."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        self.database = Database(str(root / "metadata.db"))
        self.content = ContentStore(str(root / "content"))
        self.snapshots = OverlaySnapshotter(str(root / "snapshots"), self.database)
        self.images = ImageStore(self.database, self.content, self.snapshots)
        self.puller = Puller(self.images)

    def pull(self, name: str) -> None:
        self.puller.pull(parse_reference(name))

    def remove(self, name: str) -> None:
        self.images.remove(name, users=lambda _: [])

    def check_whole(self) -> None:
        """Check that every image there is can be used."""
        for image in self.images.list_images(all_images=True):
            top = self.images.unpack(image)
            upper = Path(self.snapshots.diff_path(top)) / "a"
            assert upper.read_bytes() == b"upper" * 1000
            assert image.manifest is not None
            self.content.read(image.manifest.digest)
            for layer in image.layers:
                assert layer.blob is not None
                self.content.read(layer.blob.digest)

    def check_nothing_left(self) -> None:
        """Check that without images a garbage collection leaves nothing."""
        self.images.collect_garbage()
        if not self.images.list_images(all_images=True):
            assert list(self.content.walk()) == []
            assert self.snapshots.walk() == []

    def close(self) -> None:
        self.puller.close()
        self.database.close()


def in_child(job: Callable[[Path, str], None], root: Path, argument: str) -> int:
    """Run ``job`` in a forked child; return its exit status, negative for a signal."""
    pid = os.fork()  # noqa: TID251 - a test's own process, with one thread
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        job(root, argument)
        code = 0
    finally:
        if code:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)


def crash(root: Path, name: str, job: str, step: int) -> None:
    engine = Engine(root)
    steps = Steps(step)
    steps.watch()
    getattr(engine, job)(name)
    engine.close()
    (root / "steps").write_text(str(steps.count))


def recover(root: Path, name: str) -> None:
    engine = Engine(root)
    engine.check_whole()
    engine.check_nothing_left()
    engine.check_whole()
    engine.pull(name)
    engine.check_whole()
    assert len(engine.images.list_images()) == 1
    engine.close()


def run(root: Path, name: str, job: str, step: int) -> int:
    """Kill the job at ``step`` and check what is left; return the job's exit status."""
    root.mkdir()
    if job == "remove" and in_child(recover, root, name):
        sys.exit(1)
    status = in_child(lambda path, n: crash(path, n, job, step), root, name)
    if status not in {0, -signal.SIGKILL} or in_child(recover, root, name):
        sys.exit(f"wrong state after step {step} of {job}, which ended with {status}")
    return status


def main() -> None:
    root, name, job = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    step = 1
    while run(root / str(step), name, job, step):
        step += 1
    sys.stdout.write((root / str(step) / "steps").read_text())


if __name__ == "__main__":
    main()
