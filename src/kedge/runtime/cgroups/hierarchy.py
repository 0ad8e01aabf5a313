"""`Hierarchy`: the mounted cgroup trees, and the calling process's own place in each."""

from __future__ import annotations

from kedge.lib.hints import NamedTuple
from kedge.runtime.cgroups.files import read_text


class Hierarchy(NamedTuple):
    """One version's mounted trees."""

    version: int
    root: str
    controllers: dict[str, str]
    """v1: controller to the directory its tree is mounted at, ``unified`` being a hybrid host's v2
    tree and ``systemd`` one without a controller. v2: ``""`` to the one tree."""
    proc: str = "/proc/self"

    def bases(self, controller: str) -> tuple[str, ...]:
        """Return the directories a container's cgroup may lie below, the preferred one first.

        That is the tree's root and then the calling process's own cgroup: a process that was
        itself confined (a container, a CI job, a delegated unit) may be allowed only the second.
        """
        return self._bases(controller, *self._read_own())

    def all_bases(self) -> dict[str, tuple[str, ...]]:
        """Return the `bases` of every controller."""
        own = self._read_own()
        return {controller: self._bases(controller, *own) for controller in self.controllers}

    def directory_of(self, pid: int) -> str:
        """Return the directory in v2's one tree where process ``pid`` is; empty if it is gone."""
        text = read_text(f"/proc/{pid}/cgroup")
        return self._bases("", text, read_text(f"{self.proc}/mountinfo"))[-1] if text else ""

    def _read_own(self) -> tuple[str, str]:
        return read_text(f"{self.proc}/cgroup"), read_text(f"{self.proc}/mountinfo")

    def _bases(self, controller: str, cgroups: str, mounts: str) -> tuple[str, ...]:
        mount = self.controllers[controller]
        path = _own_path(cgroups, controller)
        if path is None:
            return (mount,)
        # Inside a container without a cgroup namespace the mount shows a part of the tree, and
        # the path counts from the whole tree's root.
        shown = _mount_root(mounts, mount)
        if shown != "/":
            if path != shown and not path.startswith(f"{shown}/"):
                return (mount,)
            path = path[len(shown) :]
        own = f"{mount}{path}".rstrip("/")
        return (mount,) if own == mount else (mount, own)


def _own_path(text: str, controller: str) -> str | None:
    controller = "" if controller == "unified" else controller
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        # "0::/path" is v2; "9:name=systemd:/path" a tree without a controller.
        if controller in names.removeprefix("name=").split(","):
            return path
    return None


def _mount_root(text: str, mount: str) -> str:
    shown = "/"
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 4 and fields[4] == mount:
            shown = fields[3]
    return shown
