"""cgroup v1: one directory per controller that limits or accounts, each in a tree of its own.

Every directory costs a start some 30 µs to make and as much to remove, so a controller nobody
asked for is left alone. Joining writes ``0`` to ``tasks``, not to ``cgroup.procs``: moving a whole
process takes the kernel's global thread-group lock and, on an idle host, a 10 ms RCU grace period;
a thread that moves itself needs neither. The freshly forked child has one thread, so both mean the
same.
"""

from __future__ import annotations

import os
import time

from kedge.errdefs import NotSupportedError, SystemFailureError
from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.cgroups import directories, v1_resources
from kedge.runtime.cgroups.devices import allows_everything, complete_rules
from kedge.runtime.cgroups.files import read_text, refusal, write_limit, write_value
from kedge.runtime.cgroups.signals import kill_all
from kedge.runtime.cgroups.v1_shown import shared_cpuset

if TYPE_CHECKING:
    from typing import Final

    from kedge.oci.runtime_spec_resources import Resources
    from kedge.runtime.cgroups.hierarchy import Hierarchy
    from kedge.runtime.cgroups.stats import CgroupStats


# Controllers that count or control without being asked to; those not mounted are done without.
_ALWAYS: Final = ("cpu", "cpuacct", "memory", "freezer", "pids", "blkio")
# systemd finds a unit's processes by its own tree; one that stays in the engine's unit would be
# killed when the engine is restarted.
_SYSTEMD_TREES: Final = ("systemd", "unified")
_SYSTEMD_RUNS: Final = "/run/systemd/system"

_FREEZE_WITHIN_S: Final = 10.0
_FREEZE_TO_KILL_WITHIN_S: Final = 0.5
_THAW_EVERY: Final = 50


class CgroupV1:
    """A cgroup on the v1 trees."""

    __slots__ = ("_directories", "_hierarchy", "_path")

    version = 1

    def __init__(self, hierarchy: Hierarchy, path: str) -> None:
        """Name the cgroup ``path``; nothing is touched."""
        self._hierarchy = hierarchy
        self._path = path
        self._directories: dict[str, str] | None = None

    @property
    def path(self) -> str:
        """The path asked for, relative to the hierarchy's root."""
        return self._path

    def directories(self) -> dict[str, str]:
        """Return the absolute directory per controller the cgroup exists in."""
        if self._directories is None:
            found: dict[str, str] = {}
            for controller, bases in self._hierarchy.all_bases().items():
                for base in bases:
                    directory = f"{base}/{self._path}"
                    if os.path.isdir(directory):
                        found[controller] = directory
                        break
            self._directories = found
        return self._directories

    def shown_directories(self) -> dict[str, str]:
        """Return `directories`, and what stands in for a cpuset of the container's own."""
        made = self.directories()
        shared = "" if "cpuset" in made else shared_cpuset(self._hierarchy, made)
        return {**made, "cpuset": shared} if shared else made

    def exists(self) -> bool:
        """Tell whether any of its directories is there."""
        return any(os.path.isdir(directory) for directory in self.directories().values())

    def create(self, resources: Resources) -> None:
        """Make the directories, once per tree, and set the limits; all or nothing."""
        resources = resources._replace(devices=complete_rules(resources.devices))
        self._directories = {}
        try:
            for controller in self._wanted(resources):
                self._make(controller)
            v1_resources.apply(self._directories, resources)
            # Now, because whoever mounts the view may have no right to make it.
            self.shown_directories()
        except BaseException:
            self.delete()
            raise

    def _wanted(self, resources: Resources) -> list[str]:
        mounted = self._hierarchy.controllers
        required = v1_resources.required_controllers(resources)
        for controller in required:
            if controller not in mounted:
                raise NotSupportedError(
                    f"cgroup controller {controller} is not mounted at {self._hierarchy.root}"
                )
        wanted: list[str] = [name for name in _ALWAYS if name in mounted]
        if "devices" in mounted and not allows_everything(resources.devices or ()):
            wanted.append("devices")
        if os.path.isdir(_SYSTEMD_RUNS):
            wanted += [name for name in _SYSTEMD_TREES if name in mounted]
        return list(dict.fromkeys([*required, *wanted]))

    def _make(self, controller: str) -> str:
        """Make the directory for ``controller``, below this process's own where it has to be."""
        made = self.directories()
        mount = self._hierarchy.controllers[controller]
        for other, directory in made.items():
            if self._hierarchy.controllers[other] == mount:
                made[controller] = directory
                return directory
        try:
            base, directory = mount, directories.make_directory(mount, self._path)
        except OSError as error:
            candidates = self._hierarchy.bases(controller)
            if error.errno not in directories.REFUSED or len(candidates) == 1:
                raise SystemFailureError(
                    f"cannot make the cgroup {mount}/{self._path}: {error.strerror}"
                ) from error
            base = candidates[-1]
            directory = self._make_below(base)
        made[controller] = directory
        if mount == self._hierarchy.controllers.get("cpuset"):
            v1_resources.inherit_cpuset(base, self._path)
        return directory

    def _make_below(self, base: str) -> str:
        try:
            return directories.make_directory(base, self._path)
        except OSError as error:
            raise SystemFailureError(
                f"cannot make the cgroup {base}/{self._path}: {error.strerror}"
            ) from error

    def join_files(self) -> tuple[str, ...]:
        """Return a file of each tree; a process with one thread that writes 0 there moves in."""
        return tuple(
            # The v2 tree of a hybrid host has no "tasks".
            f"{each}/cgroup.procs" if each.startswith(self._unified()) else f"{each}/tasks"
            for each in dict.fromkeys(self.directories().values())
        )

    def join_self(self, beside: int = 0) -> None:
        """Move the calling thread; the process must have no other. Nothing is ever divided here."""
        del beside
        for path in self.join_files():
            write_limit(path, "0")

    def _unified(self) -> str:
        return f"{self._hierarchy.controllers.get('unified', '/nowhere')}/"

    def join_fd(self) -> int:
        """Return -1: the kernel clones into v2 cgroups only."""
        return -1

    def join(self, pid: int) -> None:
        """Move process ``pid`` with all its threads in every tree."""
        for directory in dict.fromkeys(self.directories().values()):
            write_limit(f"{directory}/cgroup.procs", str(pid))

    def update(self, resources: Resources) -> None:
        """Change the limits mentioned; a controller that was not needed before joins in."""
        made = self.directories()
        required = v1_resources.required_controllers(resources)
        for controller in required:
            if controller not in self._hierarchy.controllers:
                raise NotSupportedError(
                    f"cgroup controller {controller} is not mounted at {self._hierarchy.root}"
                )
        missing = [controller for controller in required if controller not in made]
        for controller in missing:
            self._make(controller)
        v1_resources.apply(made, resources)
        for controller in missing:
            self._adopt(made[controller])

    def _adopt(self, directory: str) -> None:
        """Move the processes the other trees know into a directory that is new."""
        while True:
            absent = set(self.pids()) - set(directories.list_pids(directory))
            if not absent:
                return
            for pid in absent:
                try:
                    write_value(f"{directory}/cgroup.procs", str(pid))
                except ProcessLookupError:
                    continue
                except OSError as error:
                    raise refusal(error, f"{directory}/cgroup.procs", str(pid)) from error

    def freeze(self) -> None:
        """Stop every process; returns when the kernel says FROZEN.

        The kernel freezes one task after the other, and one that is being forked or sleeps
        uninterruptibly can escape or stall a round, so the request is repeated and now and then
        taken back for a moment (runc found the same).
        """
        self._freeze(_FREEZE_WITHIN_S)

    def _freeze(self, within_s: float) -> None:
        path = f"{self._require('freezer')}/freezer.state"
        deadline = time.monotonic() + within_s
        attempt = 0
        while True:
            write_limit(path, "FROZEN")
            if read_text(path).strip() == "FROZEN":
                return
            attempt += 1
            if time.monotonic() >= deadline:
                write_limit(path, "THAWED")
                raise SystemFailureError(f"cannot freeze the cgroup {self._path}: a process stalls")
            if attempt % _THAW_EVERY == 0:
                write_limit(path, "THAWED")
            time.sleep(min(0.0001 * attempt, 0.01))

    def thaw(self) -> None:
        """Let every process run again."""
        write_limit(f"{self._require('freezer')}/freezer.state", "THAWED")

    def is_frozen(self) -> bool:
        """Tell whether the freezer is closed or closing."""
        directory = self.directories().get("freezer")
        if directory is None:
            return False
        return read_text(f"{directory}/freezer.state").strip() not in {"", "THAWED"}

    def _require(self, controller: str) -> str:
        directory = self.directories().get(controller)
        if directory is None:
            raise NotSupportedError(f"cgroup {self._path} has no {controller} controller")
        return directory

    def kill(self) -> None:
        """Send SIGKILL to every process; frozen first, so that none forks away in between."""
        if not self.pids():
            return
        if "freezer" not in self.directories():
            kill_all(self.pids)
            return
        try:
            # A process that cannot be frozen cannot fork either; do not wait long for it.
            self._freeze(_FREEZE_TO_KILL_WITHIN_S)
        except SystemFailureError:
            kill_all(self.pids)
        else:
            kill_all(self.pids)
            self.thaw()

    def pids(self) -> list[int]:
        """Return all processes in the cgroup and below it."""
        made = self.directories()
        for controller in ("freezer", "pids", "memory", *made):
            if controller in made:
                return directories.list_pids(made[controller])
        return []

    def stats(self) -> CgroupStats:
        """Return the counters of now."""
        from kedge.runtime.cgroups import v1_stats  # noqa: PLC0415 - not for a start

        return v1_stats.read_stats(self.directories())

    def oom_kills(self) -> int:
        """Return how many processes were killed for want of memory (Linux 4.13; before, 0)."""
        from kedge.runtime.cgroups import v1_stats  # noqa: PLC0415 - likewise

        return v1_stats.read_oom_kills(self.directories().get("memory", ""))

    def delete(self) -> None:
        """Remove the directories of every tree, waiting a moment for the kernel."""
        for directory in dict.fromkeys(self.directories().values()):
            directories.remove_tree(directory)
        self._directories = None

    def delete_empty_ancestors(self) -> None:
        """Remove the unused directories above in every tree."""
        for bases in self._hierarchy.all_bases().values():
            for base in bases:
                directories.remove_empty_ancestors(base, self._path)
