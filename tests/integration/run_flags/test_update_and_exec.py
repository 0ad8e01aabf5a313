"""``update``, ``exec``, ``rename``: what changes inside, and that a refusal changes nothing."""

from pathlib import Path

import pytest

from tests.engine import Engine, busybox_context, running_engine

pytestmark = pytest.mark.integration

PARENT = ("--cgroup-parent", "/f-own")
V1 = not Path("/sys/fs/cgroup/cgroup.controllers").exists()


def value(engine: Engine, name: str) -> str:
    return engine.docker("exec", "box", "cat", f"/sys/fs/cgroup/{name}").stdout.strip()


@pytest.mark.skipif(not V1, reason="reads the files of cgroup v1")
def test_update_changes_a_running_container(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "--memory", "64m", "busybox", "sleep", "60")
    engine.docker(
        "update", "--memory", "32m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "9",
        "--cpu-shares", "77", "--cpuset-cpus", "0", "--memory-reservation", "8m",
        "--blkio-weight", "200", "box",
    )  # fmt: skip
    seen = {
        name: value(engine, name)
        for name in (
            "memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes",
            "cpu/cpu.cfs_quota_us", "cpu/cpu.shares", "pids/pids.max",
            "memory/memory.soft_limit_in_bytes",
        )
    }  # fmt: skip
    assert list(seen.values()) == [
        str(32 << 20), str(64 << 20), "50000", "77", "9", str(8 << 20)
    ]  # fmt: skip
    allowed = engine.docker("exec", "box", "grep", "Cpus_allowed_list", "/proc/1/status").stdout
    assert allowed.split() == ["Cpus_allowed_list:", "0"]
    engine.docker("update", "--pids-limit", "-1", "box")
    assert value(engine, "pids/pids.max") == "max"
    shown = engine.docker(
        "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", "box"
    ).stdout
    assert shown == f"{32 << 20} 500000000\n"


@pytest.mark.skipif(not V1, reason="reads the files of cgroup v1")
def test_a_refused_update_changes_nothing(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "--memory", "64m", "busybox", "sleep", "60")
    before = engine.docker("inspect", "-f", "{{json .HostConfig}}", "box").stdout
    for flags, text in (
        (["--memory", "1m"], "Minimum memory limit allowed is 6MB"),
        (["--memory", "512m"], "Memory limit should be smaller than already set memoryswap limit"),
        (["--cpuset-cpus", "99"], "Requested CPUs are not available - requested 99"),
        (["--cpu-shares", "99", "--cpu-rt-runtime", "95000"], "cpu.rt_runtime_us"),
    ):
        done = engine.docker("update", *flags, "box", check=False)
        assert done.returncode == 1
        assert text in done.stderr
    assert engine.docker("inspect", "-f", "{{json .HostConfig}}", "box").stdout == before
    assert value(engine, "cpu/cpu.shares") == "1024"
    assert value(engine, "memory/memory.limit_in_bytes") == str(64 << 20)


def test_exec_gets_what_the_container_has(engine: Engine) -> None:
    engine.docker(
        "run", "-d", "--name", "box", "--ulimit", "nofile=100:200", "--oom-score-adj", "300",
        "--security-opt", "no-new-privileges", "-e", "A=1", "busybox", "sleep", "60",
    )  # fmt: skip
    script = "ulimit -n; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status; echo $A"
    seen = engine.docker("exec", "box", "sh", "-c", script).stdout.split()
    assert seen == ["100", "300", "NoNewPrivs:", "1", "1"]
    plain = engine.docker("exec", "box", "grep", "CapEff", "/proc/self/status").stdout
    full = engine.docker("exec", "--privileged", "box", "grep", "CapEff", "/proc/self/status")
    assert int(full.stdout.split()[1], 16) > int(plain.split()[1], 16)


def test_exec_refusals(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "60")
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
            engine.docker("run", "-d", "--name", "box", *PARENT, "busybox", "sleep", "9")
            assert list(Path("/sys/fs/cgroup").glob("*/f-own/*/cgroup.procs"))
            engine.kill()
            engine.start()
            engine.docker("rm", "-f", "box")
            assert list(Path("/sys/fs/cgroup").glob("*/f-own/*/cgroup.procs")) == []
    finally:
        for folder in Path("/sys/fs/cgroup").glob("*/f-own"):
            folder.rmdir()
