"""What is mounted: cgroup v1, hybrid or v2, and where this process may make cgroups of its own."""

from __future__ import annotations

import os

from kedge.errdefs import InvalidParameterError, UnavailableError
from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.cgroups.hierarchy import Hierarchy

if TYPE_CHECKING:
    from typing import Final

    from kedge.runtime.cgroups.protocol import Cgroup


DEFAULT_ROOT: Final = "/sys/fs/cgroup"

# What is mounted does not change while a spawner lives, and every start would pay for the look.
_known: dict[str, Hierarchy] = {}


def make_cgroup(path: str, *, root: str = DEFAULT_ROOT, proc: str = "/proc/self") -> Cgroup:
    """Return the cgroup ``path`` of the version that is mounted at ``root``; makes nothing yet.

    Args:
        path: Relative to the hierarchy, such as ``kedge/<id>``; a leading slash is ignored.
        root: Where the hierarchies are mounted; on v2 the hierarchy itself.
        proc: The calling process's proc directory.

    Raises:
        InvalidParameterError: ``path`` is empty or leaves the hierarchy.
        UnavailableError: No cgroup is mounted at ``root``.
    """
    parts = [part for part in path.split("/") if part]
    if not parts or ".." in parts or "." in parts:
        raise InvalidParameterError(f"not a cgroup path: {path!r}")
    hierarchy = _known.get(root)
    if hierarchy is None:
        hierarchy = detect(root, proc)
        _known[root] = hierarchy
    clean = "/".join(parts)
    # A host has one of them.
    if hierarchy.version == 2:
        from kedge.runtime.cgroups.v2 import CgroupV2  # noqa: PLC0415

        return CgroupV2(hierarchy, clean)
    from kedge.runtime.cgroups.v1 import CgroupV1  # noqa: PLC0415

    return CgroupV1(hierarchy, clean)


def detect(root: str, proc: str = "/proc/self") -> Hierarchy:
    """Return the hierarchies mounted at ``root``.

    Raises:
        UnavailableError: There is none.
    """
    if os.path.exists(f"{root}/cgroup.controllers"):
        return Hierarchy(2, root, {"": root}, proc)
    controllers: dict[str, str] = {}
    try:
        names = sorted(os.listdir(root))
    except OSError:
        names = []
    real_root = os.path.realpath(root)
    for name in names:
        # "cpu,cpuacct" is one hierarchy with two controllers; "cpu" beside it is a link to it.
        directory = f"{real_root}/{name}"
        if os.path.islink(directory):
            directory = os.path.realpath(directory)
        if os.path.exists(f"{directory}/tasks"):
            for controller in name.split(","):
                controllers[controller] = directory
        elif name == "unified" and os.path.exists(f"{directory}/cgroup.procs"):
            controllers[name] = directory
    if not controllers.keys() - {"unified"}:
        raise UnavailableError(f"no cgroup hierarchy is mounted at {root}")
    return Hierarchy(1, root, controllers, proc)
