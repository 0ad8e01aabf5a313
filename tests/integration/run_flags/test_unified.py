"""What an engine does on a host of pure cgroup v2 alone (``make test-vm``)."""

from pathlib import Path

import pytest

from kedge.lib.jsontypes import JsonObject
from tests.engine import Engine
from tests.integration.engine_crash.truth import until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        reason="this host has no pure cgroup v2",
    ),
]

# As systemd, kind and an engine in a container begin.
_DIVIDE = (
    "cd /sys/fs/cgroup && mkdir init && echo 1 > init/cgroup.procs && "
    "echo +memory +pids > cgroup.subtree_control && touch /ready; exec sleep 6000"
)


def part(document: JsonObject, name: str) -> JsonObject:
    found = document[name]
    assert isinstance(found, dict)
    return found


def test_a_container_that_has_divided_its_cgroup_is_entered_and_paused(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "--privileged", "busybox", "sh", "-c", _DIVIDE)
    until(
        lambda: engine.docker("exec", "box", "ls", "/ready", check=False).returncode == 0, "ready"
    )
    assert engine.docker("exec", "box", "cat", "/proc/self/cgroup").stdout == "0::/init\n"
    engine.docker("pause", "box")
    key = engine.docker("inspect", "-f", "{{.Id}}", "box").stdout.strip()
    events = Path(f"/sys/fs/cgroup/kedge/{key}/cgroup.events")
    assert "frozen 1" in events.read_text()
    engine.docker("unpause", "box")
    assert "frozen 0" in events.read_text()
    # What it made below goes with it, however deep.
    engine.docker("exec", "box", "mkdir", "-p", "/sys/fs/cgroup/other/deep")
    engine.docker("rm", "-f", "box")
    assert not events.exists()


def test_an_unprivileged_container_sees_its_own_limits_and_changes_none(engine: Engine) -> None:
    script = (
        "cat memory.max; echo max > memory.max; mkdir mine; ls ../../sys/fs/cgroup | grep -c kedge"
    )
    done = engine.docker(
        "run", "--rm", "--memory", "64m", "-w", "/sys/fs/cgroup", "busybox", "sh", "-c", script,
        check=False,
    )  # fmt: skip
    assert done.stdout.split() == [str(64 << 20), "0"]
    assert done.stderr.count("Read-only file system") == 2


def test_stats_are_those_of_the_one_tree(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "--memory", "64m", "busybox", "sleep", "6000")
    stats = engine.get("/containers/box/stats?stream=false&one-shot=true")
    memory = part(stats, "memory_stats")
    assert memory["limit"] == 64 << 20
    assert 0 < int(str(memory["usage"])) < 64 << 20
    assert "inactive_file" in part(memory, "stats")
    assert part(stats, "pids_stats")["current"] == 1
    assert int(str(part(part(stats, "cpu_stats"), "cpu_usage")["total_usage"])) > 0
    info = engine.get("/info")
    assert (info["CgroupVersion"], info["CgroupDriver"]) == ("2", "cgroupfs")
    assert not info["Warnings"]
