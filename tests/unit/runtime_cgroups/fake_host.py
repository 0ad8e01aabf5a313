import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kedge.runtime.cgroups import detect, directories

if TYPE_CHECKING:
    from collections.abc import Callable

V2_FILES = {
    "cgroup.controllers": "",
    "cgroup.subtree_control": "",
    "cgroup.procs": "",
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cgroup.freeze": "0\n",
    "cgroup.kill": "",
    "cgroup.type": "domain\n",
    "cpu.max": "max 100000\n",
    "cpu.max.burst": "0\n",
    "cpu.weight": "100\n",
    "cpu.idle": "0\n",
    "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 2\n"
    "throttled_usec 7\n",
    "cpuset.cpus": "",
    "cpuset.mems": "",
    "memory.current": "4096\n",
    "memory.peak": "8192\n",
    "memory.max": "max\n",
    "memory.low": "0\n",
    "memory.swap.max": "max\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n",
    "memory.stat": "anon 1024\ninactive_file 512\n",
    "pids.current": "3\n",
    "pids.max": "max\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
    "io.max": "",
    "io.weight": "default 100\n",
    "hugetlb.2MB.max": "max\n",
    "hugetlb.2MB.rsvd.max": "max\n",
}

V1_FILES = {
    "cpu": {
        "cpu.shares": "1024\n",
        "cpu.cfs_quota_us": "-1\n",
        "cpu.cfs_period_us": "100000\n",
        "cpu.cfs_burst_us": "0\n",
        "cpu.rt_runtime_us": "0\n",
        "cpu.rt_period_us": "1000000\n",
        "cpu.idle": "0\n",
        "cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 7000\n",
    },
    "cpuacct": {
        "cpuacct.usage": "30000\n",
        "cpuacct.usage_user": "20000\n",
        "cpuacct.usage_sys": "10000\n",
        "cpuacct.usage_percpu": "25000 5000 \n",
    },
    "cpuset": {"cpuset.cpus": "", "cpuset.mems": ""},
    "memory": {
        "memory.limit_in_bytes": "9223372036854771712\n",
        "memory.memsw.limit_in_bytes": "9223372036854771712\n",
        "memory.soft_limit_in_bytes": "9223372036854771712\n",
        "memory.kmem.tcp.limit_in_bytes": "9223372036854771712\n",
        "memory.usage_in_bytes": "4096\n",
        "memory.max_usage_in_bytes": "8192\n",
        "memory.failcnt": "3\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        "memory.stat": "rss 1024\ntotal_inactive_file 512\n",
        "memory.swappiness": "60\n",
    },
    "devices": {"devices.list": "a *:* rwm\n", "devices.allow": "", "devices.deny": ""},
    "freezer": {"freezer.state": "THAWED\n"},
    "pids": {"pids.current": "3\n", "pids.max": "max\n"},
    "blkio": {
        "blkio.bfq.weight": "100\n",
        "blkio.bfq.weight_device": "",
        "blkio.throttle.read_bps_device": "",
        "blkio.throttle.write_iops_device": "",
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\nTotal 30\n",
        "blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
    },
}


class FakeHost:
    """A plain folder that looks like /sys/fs/cgroup: new directories get the kernel's files."""

    def __init__(self, root: Path, proc: Path) -> None:
        self.root = root
        self.proc = proc
        self.files_for: Callable[[str], dict[str, str]] = lambda _: {}
        self.refused: set[str] = set()
        """Directories in which nothing may be made."""
        self.writes: list[tuple[str, str]] = []

    def populate(self, directory: str) -> None:
        for name, text in self.files_for(directory).items():
            Path(directory, name).write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    root.mkdir()
    proc.mkdir()
    fake = FakeHost(root, proc)
    make_directory = directories.make_directory

    def make_and_populate(base: str, path: str) -> str:
        if base in fake.refused:
            raise PermissionError(13, "Permission denied", base)
        made = base
        for part in path.split("/"):
            new = not os.path.isdir(f"{made}/{part}")
            made = make_directory(made, part)
            if new:
                fake.populate(made)
        return made

    def remove(directory: str) -> None:
        shutil.rmtree(directory, ignore_errors=True)

    monkeypatch.setattr(directories, "make_directory", make_and_populate)
    monkeypatch.setattr(directories, "remove_tree", remove)
    monkeypatch.setattr(detect, "_known", {})
    return fake


@pytest.fixture
def v2_host(host: FakeHost) -> FakeHost:
    host.files_for = lambda _: V2_FILES | {"cgroup.controllers": "cpu io memory pids\n"}
    host.populate(str(host.root))
    (host.root / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    (host.proc / "cgroup").write_text("0::/\n")
    (host.proc / "mountinfo").write_text(
        f"31 23 0:28 / {host.root} rw,relatime - cgroup2 cgroup2 rw\n"
    )
    return host


@pytest.fixture
def v1_host(host: FakeHost) -> FakeHost:
    def files_for(directory: str) -> dict[str, str]:
        controller = directory.removeprefix(f"{host.root}/").split("/")[0]
        common = {"tasks": "", "cgroup.procs": ""}
        for name in controller.split(","):
            common |= V1_FILES.get(name, {})
        return common

    host.files_for = files_for
    for name in ("cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "pids", "blkio"):
        (host.root / name).mkdir()
        host.populate(str(host.root / name))
    (host.root / "cpu").symlink_to("cpu,cpuacct")
    (host.root / "cpuacct").symlink_to("cpu,cpuacct")
    (host.root / "cpuset/cpuset.cpus").write_text("0-3\n")
    (host.root / "cpuset/cpuset.mems").write_text("0\n")
    (host.proc / "cgroup").write_text("4:memory:/job/7\n1:cpu,cpuacct:/\n0::/\n")
    (host.proc / "mountinfo").write_text(
        f"35 31 0:32 / {host.root}/memory rw,relatime - cgroup cgroup rw,memory\n"
    )
    return host
