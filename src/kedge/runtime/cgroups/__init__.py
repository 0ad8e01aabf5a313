"""Control groups: one container's limits, accounting, freezing and killing, on v1 and v2.

`make_cgroup` looks at what is mounted and returns a `Cgroup`. Vocabulary follows the kernel's
``Documentation/admin-guide/cgroup-v1`` and ``cgroup-v2.rst``. A hybrid host, v1 controllers beside
an almost empty v2 tree, is a v1 host.

Nothing here knows about containers: a cgroup is a path, and the caller decides who lives in it.
"""

from kedge.runtime.cgroups.detect import make_cgroup
from kedge.runtime.cgroups.protocol import Cgroup
from kedge.runtime.cgroups.stats import (
    BlkioEntry,
    CgroupStats,
    CpuStats,
    MemoryStats,
    PidsStats,
)

__all__ = [
    "BlkioEntry",
    "Cgroup",
    "CgroupStats",
    "CpuStats",
    "MemoryStats",
    "PidsStats",
    "make_cgroup",
]
