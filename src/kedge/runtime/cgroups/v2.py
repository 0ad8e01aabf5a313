"""cgroup v2: one tree; controllers are switched on for the children of every directory on the way.

The kernel refuses to switch controllers on where processes live, except at the real root ("no
internal processes"). Where this process was itself put into a cgroup (a container, a delegated
unit) that directory is usually its own, so its processes are moved aside into a leaf first, as
Docker's ``dind`` and ``kind`` do.
"""

from __future__ import annotations

import errno
import os
import time

from kedge.errdefs import ConflictError, KedgeError, NotSupportedError, SystemFailureError
from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.cgroups import device_filter, directories, v2_resources
from kedge.runtime.cgroups.devices import allows_everything, complete_rules
from kedge.runtime.cgroups.files import read_text, refusal, write_limit, write_value
from kedge.runtime.cgroups.signals import kill_all

if TYPE_CHECKING:
    from typing import Final

    from kedge.oci.runtime_spec_resources import Resources
    from kedge.runtime.cgroups.hierarchy import Hierarchy
    from kedge.runtime.cgroups.stats import CgroupStats


_ALWAYS: Final = ("cpu", "io", "memory", "pids")
_ASIDE: Final = "kedge-init"
_FREEZE_WITHIN_S: Final = 10.0
_EVACUATE_ROUNDS: Final = 100


class CgroupV2:
    """A cgroup on the v2 tree."""

    __slots__ = ("_directory", "_hierarchy", "_path")

    version = 2

    def __init__(self, hierarchy: Hierarchy, path: str) -> None:
        """Name the cgroup ``path``; nothing is touched."""
        self._hierarchy = hierarchy
        self._path = path
        self._directory = ""

    @property
    def path(self) -> str:
        """The path asked for, relative to the hierarchy's root."""
        return self._path

    def directories(self) -> dict[str, str]:
        """Return the one directory, under the name ``""``; empty if it is not there."""
        if not self._directory:
            for base in self._hierarchy.bases(""):
                directory = f"{base}/{self._path}"
                if os.path.isdir(directory):
                    self._directory = directory
                    break
        return {"": self._directory} if self._directory else {}

    def shown_directories(self) -> dict[str, str]:
        """Return `directories`: one tree shows every controller."""
        return self.directories()

    def _require(self) -> str:
        found = self.directories().get("")
        if found is None:
            raise NotSupportedError(f"cgroup {self._path} has not been created")
        return found

    def exists(self) -> bool:
        """Tell whether the directory is there."""
        return any(os.path.isdir(directory) for directory in self.directories().values())

    def create(self, resources: Resources) -> None:
        """Make the directory, switch its controllers on and set the limits; all or nothing."""
        rules = complete_rules(resources.devices)
        controllers = v2_resources.required_controllers(resources)
        bases = self._hierarchy.bases("")
        for position, base in enumerate(bases):
            try:
                self._create_below(base, controllers)
                break
            except OSError as error:
                if error.errno not in directories.REFUSED or position == len(bases) - 1:
                    raise SystemFailureError(
                        f"cannot make the cgroup {base}/{self._path}: {error.strerror}"
                    ) from error
        try:
            v2_resources.apply(self._directory, resources)
            if not allows_everything(rules):
                device_filter.install(self._directory, rules)
        except BaseException:
            self.delete()
            raise

    def _create_below(self, base: str, required: list[str]) -> None:
        available = set(read_text(f"{base}/cgroup.controllers").split())
        missing = [name for name in required if name not in available]
        if missing:
            raise NotSupportedError(
                f"cgroup controller {', '.join(missing)} is not available in {base}"
            )
        wanted = [*required, *(name for name in _ALWAYS if name in available)]
        self._directory = directories.make_directory(base, self._path)
        try:
            parent = base
            for part in self._path.split("/"):
                _enable(parent, wanted, is_base=parent == base)
                parent = f"{parent}/{part}"
        except BaseException:
            directories.remove_tree(self._directory)
            self._directory = ""
            raise

    def join_files(self) -> tuple[str, ...]:
        """Return the one file that takes processes."""
        return (f"{self._require()}/cgroup.procs",)

    def join_self(self, beside: int = 0) -> None:
        """Move the calling process, into the cgroup of ``beside`` where this one is divided."""
        try:
            self._join("0")
        except ConflictError:
            inner = self._hierarchy.directory_of(beside) if beside else ""
            if not inner.startswith(f"{self._require()}/"):
                raise
            write_limit(f"{inner}/cgroup.procs", "0")

    def join_fd(self) -> int:
        """Return a new descriptor of the directory, for ``CLONE_INTO_CGROUP``."""
        return os.open(self._require(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def join(self, pid: int) -> None:
        """Move process ``pid`` with all its threads."""
        self._join(str(pid))

    def _join(self, pid: str) -> None:
        directory = self._require()
        try:
            write_value(f"{directory}/cgroup.procs", pid)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EBUSY}:
                raise refusal(error, f"{directory}/cgroup.procs", pid) from error
            kind = read_text(f"{directory}/cgroup.type").strip()
            shared = read_text(f"{directory}/cgroup.subtree_control").strip()
            reason = f"it is divided by {shared}" if shared else f"its type is {kind!r}"
            raise ConflictError(f"cannot join the cgroup {directory}: {reason}") from error

    def update(self, resources: Resources) -> None:
        """Change the limits mentioned."""
        directory = self._require()
        available = set(read_text(f"{directory}/cgroup.controllers").split())
        missing = [
            name for name in v2_resources.required_controllers(resources) if name not in available
        ]
        if missing:
            parent = directory.removesuffix(f"/{self._path}")
            for part in self._path.split("/"):
                _enable(parent, missing, is_base=False)
                parent = f"{parent}/{part}"
        v2_resources.apply(directory, resources)
        if resources.devices is not None:
            device_filter.install(directory, complete_rules(resources.devices))

    def freeze(self) -> None:
        """Stop every process; returns when the kernel says so."""
        directory = self._require()
        write_limit(f"{directory}/cgroup.freeze", "1")
        deadline = time.monotonic() + _FREEZE_WITHIN_S
        pause = 0.0001
        while "frozen 1" not in read_text(f"{directory}/cgroup.events"):
            if time.monotonic() >= deadline:
                write_limit(f"{directory}/cgroup.freeze", "0")
                raise SystemFailureError(f"cannot freeze the cgroup {self._path}: a process stalls")
            time.sleep(pause)
            pause = min(pause * 2, 0.01)

    def thaw(self) -> None:
        """Let every process run again."""
        write_limit(f"{self._require()}/cgroup.freeze", "0")

    def is_frozen(self) -> bool:
        """Tell whether the cgroup is frozen or being frozen."""
        found = self.directories().get("")
        return found is not None and read_text(f"{found}/cgroup.freeze").strip() == "1"

    def kill(self) -> None:
        """Send SIGKILL to every process; since Linux 5.14 the kernel does it, forks included."""
        found = self.directories().get("")
        if found is None:
            return
        try:
            write_value(f"{found}/cgroup.kill", "1")
        except FileNotFoundError:
            kill_all(self.pids)

    def pids(self) -> list[int]:
        """Return all processes in the cgroup and below it."""
        found = self.directories().get("")
        return [] if found is None else directories.list_pids(found)

    def stats(self) -> CgroupStats:
        """Return the counters of now."""
        from kedge.runtime.cgroups import v2_stats  # noqa: PLC0415 - not for a start

        return v2_stats.read_stats(self._require())

    def oom_kills(self) -> int:
        """Return how many processes were killed for want of memory, here and below."""
        found = self.directories().get("")
        from kedge.runtime.cgroups import v2_stats  # noqa: PLC0415 - likewise

        return 0 if found is None else v2_stats.read_oom_kills(found)

    def delete(self) -> None:
        """Remove the directory and those below, waiting a moment for the kernel."""
        for directory in self.directories().values():
            directories.remove_tree(directory)
        self._directory = ""

    def delete_empty_ancestors(self) -> None:
        """Remove the unused directories above."""
        for base in self._hierarchy.bases(""):
            directories.remove_empty_ancestors(base, self._path)


def _enable(directory: str, controllers: list[str], *, is_base: bool) -> None:
    """Switch ``controllers`` on for the children of ``directory``."""
    path = f"{directory}/cgroup.subtree_control"
    enabled = set(read_text(path).split())
    missing = [name for name in dict.fromkeys(controllers) if name not in enabled]
    if not missing:
        return
    value = " ".join(f"+{name}" for name in missing)
    try:
        write_value(path, value)
    except OSError as error:
        if error.errno in directories.REFUSED and is_base:
            raise  # try again below this process's own cgroup
        if error.errno != errno.EBUSY:
            raise refusal(error, path, value) from error
        if not is_base:
            raise _occupied(directory) from error
        _move_aside(directory)
        try:
            write_value(path, value)
        except OSError as again:
            raise _occupied(directory) from again


def _occupied(directory: str) -> KedgeError:
    return SystemFailureError(
        f"cannot switch controllers on in {directory}: processes live in it; move them below it"
    )


def _move_aside(directory: str) -> None:
    """Move the processes of ``directory`` itself into a leaf below it."""
    leaf = directories.make_directory(directory, _ASIDE)
    for _ in range(_EVACUATE_ROUNDS):
        pids = read_text(f"{directory}/cgroup.procs").split()
        if not pids:
            return
        for pid in pids:
            try:
                write_value(f"{leaf}/cgroup.procs", pid)
            except ProcessLookupError:
                continue
            except OSError as error:
                raise refusal(error, f"{leaf}/cgroup.procs", pid) from error
