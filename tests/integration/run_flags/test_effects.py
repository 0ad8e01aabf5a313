"""What each flag of ``docker run`` does, looked at from inside the container."""

import os
from pathlib import Path

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.integration


CGROUP_VALUES = (
    ("--memory 64m", "cat memory/memory.limit_in_bytes", str(64 << 20)),
    ("--memory 64m", "cat memory/memory.memsw.limit_in_bytes", str(128 << 20)),
    (
        "--memory 64m --memory-swap 96m",
        "cat memory/memory.memsw.limit_in_bytes",
        str(96 << 20),
    ),
    ("--memory-reservation 32m", "cat memory/memory.soft_limit_in_bytes", str(32 << 20)),
    ("--memory-swappiness 10", "cat memory/memory.swappiness", "10"),
    ("--memory 64m --oom-kill-disable", "head -1 memory/memory.oom_control", "_disable 1"),
    ("--cpus 1.5", "cat cpu/cpu.cfs_quota_us", "150000"),
    ("--cpu-period 50000 --cpu-quota 20000", "cat cpu/cpu.cfs_quota_us", "20000"),
    ("--cpu-period 50000 --cpu-quota 20000", "cat cpu/cpu.cfs_period_us", "50000"),
    ("--cpu-shares 300", "cat cpu/cpu.shares", "300"),
    ("--cpuset-cpus 0", "cat cpuset/cpuset.cpus", "0"),
    ("--cpuset-mems 0", "cat cpuset/cpuset.mems", "0"),
    ("--pids-limit 20", "cat pids/pids.max", "20"),
    ("--pids-limit -1", "cat pids/pids.max", "max"),
    ("--blkio-weight 300", "cat blkio/blkio.*weight", "300"),
    ("--device-read-bps /dev/loop0:1mb", "cat blkio/*.read_bps_device", "7:0 1048576"),
    ("--device-write-bps /dev/loop0:1mb", "cat blkio/*.write_bps_device", "7:0 1048576"),
    ("--device-read-iops /dev/loop0:9", "cat blkio/*.read_iops_device", "7:0 9"),
    ("--device-write-iops /dev/loop0:9", "cat blkio/*.write_iops_device", "7:0 9"),
    ("--privileged", "ls -d /dev/fuse /dev/loop-control; exec 3<>/dev/net/tun", "/dev/fuse"),
)

UNIFIED_VALUES = (
    (
        "--memory 64m --memory-swap 96m --memory-reservation 32m --oom-kill-disable=false",
        "cat memory.max memory.swap.max memory.low",
        f"{64 << 20}\n{32 << 20}\n{32 << 20}",
    ),
    ("--memory 64m", "cat memory.swap.max", str(64 << 20)),
    (
        "--cpus 1.5 --cpu-shares 300 --cpuset-cpus 0 --cpuset-mems 0 --pids-limit 20",
        "cat cpu.max cpu.weight cpuset.cpus cpuset.mems pids.max",
        "150000 100000\n39\n0\n0\n20",
    ),
    ("--cpu-period 50000 --cpu-quota 20000", "cat cpu.max", "20000 50000"),
    ("--pids-limit -1 --blkio-weight 300", "cat pids.max io.*weight", "max\ndefault 2930"),
    (
        (
            "--device-read-bps /dev/loop0:1mb --device-write-bps /dev/loop0:2mb "
            "--device-read-iops /dev/loop0:9 --device-write-iops /dev/loop0:8"
        ),
        "cat io.max",
        "7:0 rbps=1048576 wbps=2097152 riops=9 wiops=8",
    ),
    ("--privileged", "ls -d /dev/fuse /dev/loop-control; exec 3<>/dev/net/tun", "/dev/fuse"),
    ("", "exec 3<>/dev/null && cat /proc/self/cgroup", "0::/"),
)

SEEN = (
    ("--oom-score-adj 300", "cat /proc/self/oom_score_adj", "300"),
    ("--ulimit nofile=100:200", "ulimit -n; ulimit -Hn", "100\n200"),
    ("--ulimit core=-1", "ulimit -c", "unlimited"),
    ("--shm-size 1m", "df -k /dev/shm | tail -1 | awk '{print $2}'", "1024"),
    ("--sysctl net.ipv4.ip_forward=0", "cat /proc/sys/net/ipv4/ip_forward", "0"),
    ("--sysctl kernel.shmmax=1234567", "cat /proc/sys/kernel/shmmax", "1234567"),
    ("--hostname h --domainname ex.org", "hostname; cat /proc/sys/kernel/domainname", "ex.org"),
    ("--mac-address 02:42:ac:11:00:99", "cat /sys/class/net/eth0/address", "02:42:ac:11:00:99"),
    ("--user web --group-add logs --group-add 7", "id -G", "101 7 104"),
    ("--user 1234:5678", "id -u; id -g", "1234\n5678"),
    ("--workdir /new/folder", "pwd", "/new/folder"),
    ("--read-only", "touch /x 2>&1; touch /dev/shm/y /dev/z && echo spots", "spots"),
    ("--read-only --tmpfs /t", "touch /t/x && echo ok", "ok"),
    ("--tmpfs /t:size=1m,mode=700", "grep ' /t ' /proc/mounts", "noexec,relatime,size=1024k"),
    ("--tmpfs /t:exec", "cp /bin/busybox /t/true && /t/true && echo ran", "ran"),
    ("--device /dev/net/tun:/dev/t:rw", "exec 3<>/dev/t && ls -l /dev/t", "10, 200"),
    ("--device /dev/net", "ls /dev/net", "tun"),
    ("--device vendor.com/box=one", "echo $BOX; ls /dev/box /box; id -G", "one\n"),
    ("--device vendor.com/box=one", "exec 3<>/dev/box && echo open; id -G", "open\n0 77"),
    ("--cap-drop ALL", "grep CapBnd /proc/self/status", "0000000000000000"),
    ("--cap-drop ALL --cap-add kill", "grep CapEff /proc/self/status", "0000000000000020"),
    ("--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status", "1"),
    ("--security-opt no-new-privileges=false", "grep NoNewPrivs /proc/self/status", "0"),
    ("--security-opt seccomp=unconfined", "grep Seccomp: /proc/self/status", "0"),
    ("--security-opt seccomp=builtin", "grep Seccomp: /proc/self/status", "2"),
    ("--security-opt label=disable", "echo ok", "ok"),
    ("--security-opt systempaths=unconfined", "grep -c ' /proc/' /proc/mounts || true", "0"),
    ("--annotation a=b", "echo ok", "ok"),
    ("--env A=1 --env B", "echo $A-$B", "1-"),
    ("--cgroupns private", "grep -c kedge /proc/self/cgroup || true", "0"),
)

NAMESPACES = (
    ("--ipc host", "ipc", True),
    ("--ipc private", "ipc", False),
    ("--pid host", "pid", True),
    ("--uts host", "uts", True),
    ("--network host", "net", True),
    ("--cgroupns host", "cgroup", True),
    ("--cgroupns private", "cgroup", False),
    ("", "uts", False),
)


def look(engine: Engine, cases: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return each case's flags and what its script printed; one engine serves all of them."""
    return [(flags, inside(engine, flags, script)) for flags, script in cases]


def check(found: list[tuple[str, str]], expected: list[str]) -> None:
    wrong = [
        (flags, seen, wanted)
        for (flags, seen), wanted in zip(found, expected, strict=True)
        if wanted not in seen
    ]
    assert wrong == []


def inside(engine: Engine, flags: str, script: str) -> str:
    done = engine.docker("run", "--rm", *flags.split(), "busybox", "sh", "-c", script)
    assert done.stderr == ""
    return done.stdout.strip()


def test_cgroup_values(engine: Engine) -> None:
    is_unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    values = UNIFIED_VALUES if is_unified else CGROUP_VALUES
    found = look(engine, [(flags, f"cd /sys/fs/cgroup && {script}") for flags, script, _ in values])
    check(found, [expected for _, _, expected in values])


def test_what_a_process_sees(engine: Engine) -> None:
    found = look(engine, [(flags, script) for flags, script, _ in SEEN])
    check(found, [expected for _, _, expected in SEEN])


def test_namespaces(engine: Engine) -> None:
    found = look(
        engine, [(flags, f"readlink /proc/self/ns/{kind}") for flags, kind, _ in NAMESPACES]
    )
    for (flags, seen), (_, kind, shared) in zip(found, NAMESPACES, strict=True):
        assert (seen == os.readlink(f"/proc/self/ns/{kind}")) is shared, (flags, seen)


def test_capabilities_of_all_and_of_privileged(engine: Engine) -> None:
    everything = inside(engine, "--cap-add ALL", "grep CapEff /proc/self/status")
    assert everything == inside(engine, "--privileged", "grep CapEff /proc/self/status")
    assert int(everything.split()[1], 16).bit_count() > 30


def test_shared_memory_goes_with_the_ipc_namespace(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "donor", "--ipc", "shareable", "busybox", "sleep", "60")
    engine.docker("exec", "donor", "sh", "-c", "echo hi > /dev/shm/x")  # fmt: skip
    assert inside(engine, "--ipc container:donor", "cat /dev/shm/x") == "hi"
    assert inside(engine, "--pid container:donor", "cat /proc/1/cmdline").startswith("sleep")
    assert inside(engine, "--ipc none", "ls -d /dev/shm 2>/dev/null || echo none") == "none"


def test_cgroup_parent(engine: Engine) -> None:
    parent = f"f-{os.getpid()}"
    try:
        flags = f"--cgroupns host --cgroup-parent /{parent}/team"
        seen = inside(engine, flags, "grep -E ':memory:|^0::' /proc/self/cgroup")
        assert f":/{parent}/team/" in seen
    finally:
        root = Path("/sys/fs/cgroup")
        for folder in (*root.glob(f"{parent}/team"), *root.glob(f"*/{parent}/team")):
            folder.rmdir()
            folder.parent.rmdir()


def test_a_seccomp_profile_of_the_users_own(engine: Engine, tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], '
        '"action": "SCMP_ACT_ERRNO", "errnoRet": 30}, {"names": ["chdir"], "action": '
        '"SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}'
    )
    script = "mkdir /x 2>&1; cd /etc && echo moved"
    seen = inside(engine, f"--security-opt seccomp={profile}", script)
    assert "Read-only file system" in seen
    assert "moved" in seen


def test_init_reaps_passes_signals_on_and_keeps_the_exit_code(engine: Engine) -> None:
    assert inside(engine, "--init", "echo $$; head -c 17 /proc/1/cmdline") == "2\n/sbin/docker-init"
    # The grandchild outlives its parent, ends, and must not stay as a zombie.
    orphan = "(sleep 0.05 & ); sleep 0.3; ps -o stat | grep -c Z || true"
    assert inside(engine, "--init", orphan) == "0"
    done = engine.docker("run", "--rm", "--init", "busybox", "sh", "-c", "exit 7", check=False)
    assert done.returncode == 7
    script = 'trap "echo got; exit 3" TERM; : > /ready; while :; do sleep 0.02; done'
    engine.docker("run", "-d", "--init", "--name", "tidy", "busybox", "sh", "-c", script)
    engine.docker("exec", "tidy", "sh", "-c", "until [ -e /ready ]; do sleep 0.02; done")
    engine.docker("stop", "tidy")
    assert engine.docker("wait", "tidy").stdout == "3\n"
    assert engine.docker("logs", "tidy").stdout == "got\n"


def test_a_program_that_ignores_its_terminal_still_gets_it(engine: Engine) -> None:
    seen = engine.docker("run", "-t", "--rm", "--init", "busybox", "sh", "-c", "tty").stdout
    assert seen.strip() == "/dev/pts/0"
