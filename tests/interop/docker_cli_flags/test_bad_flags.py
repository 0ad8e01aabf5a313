"""Values of run flags that cannot work: the official client's exit code and Docker's text."""

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.interop

REFUSED = (
    ("--memory 1m", "Minimum memory limit allowed is 6MB"),
    ("--memory 64m --memory-swap 32m", "Minimum memoryswap limit should be larger than memory"),
    ("--memory 64m --memory-reservation 128m", "Minimum memory limit can not be less than memory"),
    ("--memory-swap 64m", "You should always set the Memory limit when using Memoryswap limit"),
    ("--cpus 99", "range of CPUs is from 0.01 to"),
    ("--cpus 1 --cpu-quota 5000", "Nano CPUs and CPU Quota cannot both be set"),
    ("--cpu-period 5", "CPU cfs period can not be less than 1ms"),
    ("--cpuset-cpus x", "Invalid value x for cpuset cpus"),
    ("--cpuset-cpus 99", "Requested CPUs are not available - requested 99"),
    ("--blkio-weight 5", "Range of blkio weight is from 10 to 1000"),
    ("--oom-score-adj 5000", "range for oom score adj is [-1000, 1000]"),
    ("--ipc nothing", "invalid IPC mode: nothing"),
    ("--ipc container:nobody", "No such container: nobody"),
    ("--ipc container:alone", "non-shareable IPC (hint: use IpcMode:shareable"),
    ("--ipc container:ended", "cannot join IPC of a non running container"),
    ("--pid container:ended", "cannot join PID of a non running container"),
    ("--device /dev/nope", 'while adding custom device "/dev/nope": no such file or directory'),
    ("--device /etc/passwd", "not a device node"),
    ("--device vendor.com/class=x", "unresolvable CDI devices vendor.com/class=x"),
    ("--gpus all", 'could not select device driver "" with capabilities: [[gpu]]'),
    ("--device-read-bps /dev/nope:1mb", "stat /dev/nope: no such file or directory"),
    ("--runtime nope", "unknown or invalid runtime name: nope"),
    ("--storage-opt size=1g", "supported only for overlay over xfs with 'pquota' mount option"),
    ("--user nobody", "unable to find user nobody: no matching entries in passwd file"),
    ("--user 99999999999", "uids and gids must be in range 0-2147483647"),
    ("--group-add nogroup", "unable to find group nogroup: no matching entries in group file"),
    ("--tmpfs /x:colour", 'Invalid tmpfs option ["colour"]'),
    ("--tmpfs x", "mount path must be absolute"),
    ("--security-opt colour=red", 'invalid --security-opt 2: "colour=red"'),
    ("--security-opt no-new-privileges=maybe", "invalid --security-opt 2"),
    ("--cap-add FLY", 'invalid CapAdd: unknown capability: "CAP_FLY"'),
    ("--stop-signal FLY", "invalid signal: FLY"),
    ("--uts host --hostname x", "conflicting options: hostname and the UTS mode"),
    ("--cgroupns maybe", "cgroup"),
    ("--sysctl net.ipv4.ip_forward=x", "net.ipv4.ip_forward"),
    ("--network host --sysctl net.ipv4.ip_forward=1", "not allowed in host network namespace"),
    ("--cgroup-parent ../x", "invalid cgroup-parent ../x"),
    ("--workdir relative", "'relative' is invalid, it needs to be an absolute path"),
    ("--ulimit nofile=99999999", "cannot raise the hard limit RLIMIT_NOFILE"),
    ("--ulimit nofile=9:5", "ulimit soft limit must be less than or equal to hard limit"),
    ("--cpu-rt-runtime 95000", "cpu.rt_runtime_us"),
)


def test_refused_with_dockers_text_and_nothing_left(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "alone", "busybox", "sleep", "600")
    engine.docker("run", "--name", "ended", "busybox", "true")
    wrong: list[tuple[str, int, str]] = []
    for flags, text in REFUSED:
        done = engine.docker("run", "--rm", *flags.split(), "busybox", "true", check=False)
        # The client takes "no such file" for a missing program, whatever it is about.
        code = 127 if "no such file or directory" in text else 125
        if done.returncode != code or text not in done.stderr:
            wrong.append((flags, done.returncode, done.stderr))
    assert wrong == []
    assert sorted(engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()) == [
        "alone",
        "ended",
    ]


def test_rename_kill_and_top(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "one", "busybox", "sleep", "600")
    engine.docker("create", "--name", "two", "busybox")
    for words, text in (
        (["rename", "one", "two"], 'Conflict. The container name "/two" is already in use'),
        (["rename", "one", "one"], "Renaming a container with the same name as its current name"),
        (["rename", "one", "?"], "Invalid container name (?)"),
        (["kill", "-s", "FLY", "one"], "invalid signal: FLY"),
        (["kill", "two"], "is not running"),
        (["top", "two"], "is not running"),
        (["update", "--memory", "1m", "one"], "Minimum memory limit allowed is 6MB"),
    ):
        done = engine.docker(*words, check=False)
        assert done.returncode == 1, words
        assert text in done.stderr, (words, done.stderr)


def test_what_inspect_says_of_defaults(engine: Engine) -> None:
    engine.docker("create", "--name", "box", "--memory", "64m", "busybox")
    template = (
        "{{.HostConfig.IpcMode}} {{.HostConfig.MemorySwap}} {{.HostConfig.ShmSize}} "
        "{{.HostConfig.Runtime}} {{len .HostConfig.MaskedPaths}} {{.HostConfig.CgroupParent}}"
    )
    seen = engine.docker("inspect", "-f", template, "box").stdout.split()
    assert seen[:4] == ["private", str(128 << 20), str(64 << 20), "kedge"]
    assert int(seen[4]) > 5


def test_warnings_are_shown(engine: Engine) -> None:
    done = engine.docker("create", "--oom-kill-disable", "busybox")
    assert "OOM killer is disabled for the container, but no memory limit is set" in done.stderr
    done = engine.docker("create", "--security-opt", "apparmor=mine", "busybox", check=False)
    assert done.returncode == 0
