"""What a container without a cpuset of its own is shown of that controller on cgroup v1.

Programs that size themselves by their limits look for the mounts of all of cpu, cpuacct, cpuset and
memory: the JVM takes a container without a cpuset for none, and the host's memory for its own.
Joining a cpuset costs a start 0.4 ms and now and then 10, so who is not limited by one is shown
a cgroup without processes that has all of the host's processors, the same for everybody.
"""

from __future__ import annotations

import os

from kedge.errdefs import KedgeError
from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.cgroups import directories
from kedge.runtime.cgroups.v1_resources import inherit_cpuset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from kedge.runtime.cgroups.hierarchy import Hierarchy


SHARED: Final = "kedge/shared"


def shared_cpuset(hierarchy: Hierarchy, made: Mapping[str, str]) -> str:
    """Return the directory, made where it is missing; empty where the kernel does not let us.

    Args:
        hierarchy: What is mounted.
        made: The container's directory by controller; one of them may be in the same tree.
    """
    mount = hierarchy.controllers.get("cpuset", "")
    if not mount:
        return ""
    for controller, directory in made.items():
        if hierarchy.controllers[controller] == mount:
            return directory
    if os.path.isdir(f"{mount}/{SHARED}"):
        return f"{mount}/{SHARED}"
    for base in hierarchy.bases("cpuset"):
        try:
            directory = directories.make_directory(base, SHARED)
            inherit_cpuset(base, SHARED)
        except (OSError, KedgeError):
            continue
        return directory
    return ""
