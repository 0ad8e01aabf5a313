"""Makes every changing call of one command fail in turn; prints what each leaves behind.

A program of its own, because it forks and adopts what is orphaned. Arguments: the command (one of
``_DELETED``), the state directory, the bundle, its cgroup. The last line is the number of calls.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kedge.linux import prctl
from kedge.runtime import main
from kedge.runtime.cgroups import make_cgroup
from tests.integration.runtime_container.faults import run_failing

_ENOUGH: Final = 5
# Where one of these fails, undoing has failed: the command says so, and a second one must do.
_UNDOING: Final = frozenset({"unlink", "rmdir", "kill", "pidfd_send_signal"})
# Whether a container is there to be deleted, by the command and its exit code: after that nothing
# is, whichever call failed.
_DELETED: Final[dict[str, Callable[[int], bool]]] = {
    "run": lambda _code: False,
    "exec": lambda _code: False,
    "start": lambda _code: True,
    "delete": lambda code: code != 0,
}


class Field:
    """A state directory, a bundle, and a look at all that could be left."""

    def __init__(self, root: Path, bundle: Path, cgroup: str) -> None:
        self.root, self.bundle = root, bundle
        self.cgroup = cgroup
        self.runs = False
        self.note()

    def note(self) -> None:
        """Count from here what is left."""
        self.before, self.files = self._mounts(), self._files()
        self.processes = set(self._children())

    def command(self, *words: str) -> int:
        """Run a command of `kedge-runtime` in this process, with its output in a file."""
        with open(self.bundle / "said", "ab") as output:
            null = os.open(os.devnull, os.O_RDONLY)
            for target, fd in enumerate((null, output.fileno(), output.fileno())):
                os.dup2(fd, target)
            sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115
            try:
                code = main.run(["--root", str(self.root), *words])
                sys.stdout.flush()
            except BaseException as error:  # noqa: BLE001 - as the interpreter's end would be
                with contextlib.suppress(OSError):
                    os.write(2, repr(error).encode())
                return 120
            return code

    def whole(self, *words: str) -> int:
        """Run a command with no call failing."""
        pid = os.fork()  # noqa: TID251 - what is tested forks, too
        if pid == 0:
            os._exit(self.command(*words))
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _mounts(self) -> set[str]:
        return set(Path("/proc/self/mountinfo").read_text().splitlines())

    def _files(self) -> set[str]:
        skipped = (self.bundle / "rootfs", self.bundle / "said")
        found = (path for top in (self.root, self.bundle) for path in top.rglob("*"))
        return {str(path) for path in found if not str(path).startswith(tuple(map(str, skipped)))}

    def left(self) -> list[str]:
        """Return what is there that was not: files, mounts, cgroups, processes."""
        deadline = time.monotonic() + 30
        while True:
            self._reap()
            found = [
                f"file {path}" for path in self._files() - self.files if "/rootfs/" not in path
            ]
            found += [
                f"mount {line}" for line in self._mounts() - self.before if str(self.bundle) in line
            ]
            cgroup = make_cgroup(self.cgroup)
            if cgroup.exists() != self.runs:
                found.append("cgroup")
            found += [f"process {pid} inside" for pid in cgroup.pids()[self.runs :]]
            found += [f"process {pid}" for pid in self._children() if pid not in self.processes]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def _children(self) -> list[str]:
        me = os.getpid()
        return Path(f"/proc/{me}/task/{me}/children").read_text().split()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def try_all(field: Field, *words: str, before: tuple[str, ...] = ()) -> int:
    """Fail each call of the command once; return how many there were.

    Args:
        field: Where.
        words: The command.
        before: What is to be done before each time.
    """
    position, wrong = 0, 0
    deleted = _DELETED[words[0]]
    while wrong < _ENOUGH:
        assert not before or field.whole(*before) == 0
        outcome = run_failing(lambda: field.command(*words), position)
        if deleted(outcome.code):
            assert field.whole("delete", "--force", "c") == 0
        if outcome.failed is None:
            return position
        if outcome.failed in _UNDOING and outcome.code and not field.runs:
            field.whole("delete", "--force", "c")
        left = field.left()
        wrong += bool(left)
        for what in left:
            sys.stdout.write(f"{position} {outcome.failed}: {what}\n")
        position += 1
    return position


def start() -> None:
    """Do what the arguments say."""
    command, root, bundle, cgroup = sys.argv[1:]
    prctl.set_child_subreaper()
    field = Field(Path(root), Path(bundle), cgroup)
    create = ("create", "-b", bundle, "c")
    if command == "run":
        points = try_all(field, "run", "-b", bundle, "c")
    elif command == "start":
        points = try_all(field, "start", "c", before=create)
    elif command == "delete":
        points = try_all(field, "delete", "--force", "c", before=create)
    else:
        assert field.whole("run", "-d", "-b", bundle, "c") == 0
        field.runs = True
        field.note()
        points = try_all(field, "exec", "c", "true")
        field.whole("delete", "--force", "c")
    sys.stdout.write(f"{points}\n")


if __name__ == "__main__":
    start()
