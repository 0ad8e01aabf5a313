"""Rights, descriptors, devices and other processes, asked from inside. The values are Docker's."""

import os
import stat
from pathlib import Path

import pytest

from tests.engine import Engine
from tests.integration.isolation.conftest import inside, status

pytestmark = pytest.mark.integration

DEFAULT = "00000000a80425fb"
NONE = "0" * 16
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
DEV = {
    "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr",
    "stdin", "stdout", "tty", "urandom", "zero",
}  # fmt: skip


def field(name: str) -> str:
    """Return a field of the host's own /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


def test_privileged_has_all_that_the_host_gives(engine: Engine) -> None:
    found = status(engine, "--privileged")
    everything = field("CapBnd")
    assert [found[name] for name in SETS] == [NONE, everything, everything, everything, NONE]
    assert (found["Seccomp"], found["NoNewPrivs"]) == ("0", "0")
    user = status(engine, "--privileged", "--user", "100")
    assert [user[name] for name in SETS] == [NONE, NONE, NONE, everything, NONE]


def test_no_new_privileges_is_seen(each: Engine) -> None:
    found = status(each, "--security-opt", "no-new-privileges")
    assert [found[name] for name in SETS] == [NONE, DEFAULT, DEFAULT, DEFAULT, NONE]
    assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "1")


def test_another_user_gets_an_added_capability_in_no_set_that_counts(each: Engine) -> None:
    found = status(each, "--user", "100", "--cap-add", "NET_ADMIN")
    assert [found[name] for name in SETS] == [NONE, NONE, NONE, "00000000a80435fb", NONE]


def test_dev_is_dockers(engine: Engine) -> None:
    # /dev/core leads to a file that not every kernel has, and is there only with it.
    expected = DEV | {name for name in ("core",) if os.path.exists("/proc/kcore")}
    assert set(inside(engine, "ls -1 /dev").split()) == expected - {"console"}
    assert set(inside(engine, "ls -1 /dev", "--tty").split()) == expected


def test_a_block_device_cannot_be_opened(engine: Engine) -> None:
    device = os.stat("/").st_dev
    numbers = f"{os.major(device)} {os.minor(device)}"
    node = engine.root / "disk"
    os.mknod(node, stat.S_IFBLK | 0o666, device)
    script = f"mknod /x b {numbers} && echo made; cat /x 2>&1; cat /disk 2>&1; true"
    lines = inside(engine, script, "-v", f"{node}:/disk").splitlines()
    assert lines[0] == "made"
    assert [line.rpartition(": ")[2] for line in lines[1:]] == ["Operation not permitted"] * 2


def test_only_its_own_descriptors_and_variables(each: Engine) -> None:
    # The shell lists what PID 1 has; ls opens the folder it lists as 3.
    script = "ls /proc/1/fd; echo; ls /proc/self/fd; echo; env"
    flags = ("--env", "MINE=1")
    first, own, variables = inside(each, script, *flags).split("\n\n")
    assert set(first.split()) - {"10"} == {"0", "1", "2"}
    assert own.split() == ["0", "1", "2", "3"]
    names = {line.partition("=")[0] for line in variables.splitlines()}
    assert names - {"PWD", "SHLVL", "OLDPWD", "_"} == {"PATH", "HOSTNAME", "HOME", "MINE"}


def test_an_exec_session_has_nothing_else(each: Engine) -> None:
    name = each.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
    try:
        own = each.docker("exec", name, "ls", "/proc/self/fd").stdout.split()
        first = each.docker("exec", name, "ls", "/proc/1/fd").stdout.split()
        assert (own, first) == (["0", "1", "2", "3"], ["0", "1", "2"])
    finally:
        each.docker("rm", "-f", name)


def test_processes_of_the_host_cannot_be_read(engine: Engine) -> None:
    script = f"""
        for i in {engine.pid} 1; do
            cat /proc/$i/mem /proc/$i/maps /proc/$i/environ; ls /proc/$i/root/
            cat /proc/$i/fd/0; readlink /proc/$i/exe || echo denied
        done 2>&1
    """
    lines = inside(engine, script, "--pid", "host").splitlines()
    assert len(lines) == 12, lines
    assert [line for line in lines if not line.endswith(("ermission denied", "denied"))] == []


def test_names_and_parameters_cannot_be_written(each: Engine) -> None:
    script = """
        hostname x 2>/dev/null || echo no
        for i in kernel/hostname kernel/domainname net/ipv4/ip_forward kernel/core_pattern; do
            (echo 1 > /proc/sys/$i) 2>/dev/null || echo no
        done
    """
    assert inside(each, script).split() == ["no"] * 5


def test_an_entering_process_shows_nobody_its_program(each: Engine) -> None:
    """CVE-2019-5736: whoever opens /proc/PID/exe of it would hold the host's interpreter."""
    script = r"""
        while :; do for i in /proc/[0-9]*; do
            p=$(readlink $i/exe 2>/dev/null) && case $p in
                /bin/*) ;; *) echo "$p" >> /seen;; esac
        done; echo x >> /rounds; done
    """
    name = each.docker("run", "-d", "busybox", "sh", "-c", script).stdout.strip()
    try:
        for _ in range(8):
            each.docker("exec", name, "true")
        seen = each.docker("exec", name, "sh", "-c", "sort -u /seen 2>/dev/null; wc -l < /rounds")
        *programs, rounds = seen.stdout.split("\n")[:-1]
        assert programs == []
        assert int(rounds) > 0
    finally:
        each.docker("rm", "-f", name)
