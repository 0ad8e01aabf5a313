"""``update``, ``exec``, ``rename``: what changes inside, and that a refusal changes nothing."""

from pathlib import Path

import pytest

from tests.engine import Engine, busybox_context, running_engine

pytestmark = pytest.mark.integration

PARENT = ("--cgroup-parent", "/f-own")
ROOT = Path("/sys/fs/cgroup")
V1 = not (ROOT / "cgroup.controllers").exists()
# The file of each limit, and what 1024 and 77 shares are there.
FILES = (
    ("memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes", "cpu/cpu.cfs_quota_us",
     "cpu/cpu.shares", "pids/pids.max", "memory/memory.soft_limit_in_bytes")
    if V1 else
    ("memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max", "memory.low")
)  # fmt: skip
MEMORY, MEMORY_AND_SWAP, QUOTA, SHARES, PIDS, RESERVATION = FILES


def value(engine: Engine, *names: str) -> str:
    paths = [f"/sys/fs/cgroup/{name}" for name in names]
    return engine.docker("exec", "box", "cat", *paths).stdout.strip()


def cgroups_below(parent: str) -> list[Path]:
    """Return the directories, in every hierarchy there is."""
    return [*ROOT.glob(parent), *ROOT.glob(f"*/{parent}")]


def test_update_changes_a_running_container(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "--memory", "64m", "busybox", "sleep", "6000")
    engine.docker(
        "update", "--memory", "32m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "9",
        "--cpu-shares", "77", "--cpuset-cpus", "0", "--memory-reservation", "8m",
        "--blkio-weight", "200", "box",
    )  # fmt: skip
    assert value(engine, *FILES).splitlines() == (
        [str(32 << 20), str(64 << 20), "50000", "77", "9", str(8 << 20)]
        if V1 else
        # Swap alone; half of each period; and on the weights' own scale.
        [str(32 << 20), str(32 << 20), "50000 100000", "14", "9", str(8 << 20)]
    )  # fmt: skip
    allowed = engine.docker("exec", "box", "grep", "Cpus_allowed_list", "/proc/1/status").stdout
    assert allowed.split() == ["Cpus_allowed_list:", "0"]
    engine.docker("update", "--pids-limit", "-1", "box")
    assert value(engine, PIDS) == "max"
    shown = engine.docker(
        "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", "box"
    ).stdout
    assert shown == f"{32 << 20} 500000000\n"


def test_a_refused_update_changes_nothing(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "--memory", "64m", "busybox", "sleep", "6000")
    before = engine.docker("inspect", "-f", "{{json .HostConfig}}", "box").stdout
    for flags, text in (
        (["--memory", "1m"], "Minimum memory limit allowed is 6MB"),
        (["--memory", "512m"], "Memory limit should be smaller than already set memoryswap limit"),
        (["--cpuset-cpus", "99"], "Requested CPUs are not available - requested 99"),
        # The kernel's own refusal, after shares have been set; v2 has no realtime budgets.
        *(
            [(["--cpu-shares", "99", "--cpu-rt-runtime", "95000"], "cpu.rt_runtime_us")]
            if V1
            else ()
        ),
    ):
        done = engine.docker("update", *flags, "box", check=False)
        assert done.returncode == 1
        assert text in done.stderr
    assert engine.docker("inspect", "-f", "{{json .HostConfig}}", "box").stdout == before
    assert value(engine, SHARES) == ("1024" if V1 else "100")
    assert value(engine, MEMORY) == str(64 << 20)


def test_exec_gets_what_the_container_has(engine: Engine) -> None:
    engine.docker(
        "run", "-d", "--name", "box", "--ulimit", "nofile=100:200", "--oom-score-adj", "300",
        "--security-opt", "no-new-privileges", "-e", "A=1", "busybox", "sleep", "6000",
    )  # fmt: skip
    script = "ulimit -n; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status; echo $A"
    seen = engine.docker("exec", "box", "sh", "-c", script).stdout.split()
    assert seen == ["100", "300", "NoNewPrivs:", "1", "1"]
    plain = engine.docker("exec", "box", "grep", "CapEff", "/proc/self/status").stdout
    full = engine.docker("exec", "--privileged", "box", "grep", "CapEff", "/proc/self/status")
    assert int(full.stdout.split()[1], 16) > int(plain.split()[1], 16)


def test_exec_refusals(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "6000")
    for words, code, text in (
        (["box", "nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
        (["box", "/etc"], 126, "is a directory"),
        (["box", "/etc/passwd.no"], 127, "no such file or directory"),
        (["-u", "nobody", "box", "id"], 126, "unable to find user nobody: no matching entries"),
        (["-w", "/nowhere", "box", "id"], 127, "no such file or directory"),
    ):
        done = engine.docker("exec", *words, check=False)
        assert (done.returncode, text in done.stdout + done.stderr) == (code, True), (words, done)
    engine.docker("pause", "box")
    done = engine.docker("exec", "box", "true", check=False)
    assert "is paused, unpause the container before exec" in done.stderr
    engine.docker("unpause", "box")
    engine.docker("kill", "box")
    done = engine.docker("exec", "box", "true", check=False)
    assert (done.returncode, "is not running" in done.stderr) == (1, True)


def test_an_engine_that_died_leaves_no_cgroup_of_a_parent() -> None:
    try:
        with running_engine() as engine:
            engine.build_tar(busybox_context(), "busybox")
            engine.docker("run", "-d", "--name", "box", *PARENT, "busybox", "sleep", "6000")
            assert cgroups_below("f-own/*/cgroup.procs")
            engine.kill()
            engine.start()
            engine.docker("rm", "-f", "box")
            assert cgroups_below("f-own/*/cgroup.procs") == []
    finally:
        for folder in cgroups_below("f-own"):
            folder.rmdir()
