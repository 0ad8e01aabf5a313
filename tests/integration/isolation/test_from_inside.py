"""What a container is and is not given, asked from inside, with and without a user namespace."""

import os
import socket
import uuid

import pytest

from kedge.engine.userns import DEFAULT_FIRST_ID
from tests.engine import Engine
from tests.integration.isolation.conftest import inside, status

pytestmark = pytest.mark.integration

DEFAULT = "00000000a80425fb"
NONE = "0" * 16
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], [NONE, DEFAULT, DEFAULT, DEFAULT, NONE]),
        (["--user", "100"], [NONE, NONE, NONE, DEFAULT, NONE]),
        (["--cap-drop", "ALL"], [NONE] * 5),
        (["--cap-drop", "ALL", "--cap-add", "CHOWN"], [NONE, *["0" * 15 + "1"] * 3, NONE]),
        (["--cap-add", "NET_ADMIN"], [NONE, *["00000000a80435fb"] * 3, NONE]),
        (["--read-only"], [NONE, DEFAULT, DEFAULT, DEFAULT, NONE]),
    ],
)
def test_capabilities_seccomp_and_privileges(
    each: Engine, flags: list[str], expected: list[str]
) -> None:
    found = status(each, *flags)
    assert [found[name] for name in SETS] == expected
    assert (found["Seccomp"], found["Seccomp_filters"], found["NoNewPrivs"]) == ("2", "1", "0")


def test_a_user_namespace_has_the_default_range(remapped: Engine) -> None:
    assert inside(remapped, "cat /proc/self/uid_map /proc/self/gid_map").split() == [
        "0", str(DEFAULT_FIRST_ID), "65536",
    ] * 2  # fmt: skip
    everybody = ["0", "0", "4294967295"]
    assert inside(remapped, "cat /proc/self/uid_map", "--userns", "host").split() == everybody
    assert "name=userns" in str(remapped.get("/info")["SecurityOptions"])


def test_masked_and_read_only_paths(each: Engine) -> None:
    script = """
        for f in kcore keys latency_stats timer_list timer_stats sched_debug interrupts; do
            test -e /proc/$f && cat /proc/$f
        done 2>/dev/null
        ls /proc/acpi /proc/asound /proc/scsi /sys/firmware /sys/devices/virtual/powercap 2>/dev/null | grep -v :
        for f in /proc/bus/x /proc/fs/x /proc/irq/x /proc/sys/kernel/panic /proc/sysrq-trigger /sys/x; do
            (echo 1 > $f) 2>/dev/null && echo written $f
        done
        echo end
    """  # noqa: E501
    assert inside(each, script).split() == ["end"]


def test_a_user_namespace_makes_no_devices(remapped: Engine) -> None:
    script = "mknod /d b 8 0 2>&1; echo x > /dev/null; head -c4 /dev/zero | wc -c; ls -1 /dev"
    lines = inside(remapped, script).splitlines()
    assert lines[0].endswith("Operation not permitted")
    assert lines[1] == "4"
    assert set(lines[2:]) == {
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    }  # fmt: skip


def test_no_mounts_of_the_host(each: Engine) -> None:
    points = {line.split()[4] for line in inside(each, "cat /proc/self/mountinfo").splitlines()}
    allowed = ("/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
    assert "/" in points
    assert [point for point in points - {"/"} if not point.startswith(allowed)] == []


def test_the_hosts_abstract_sockets_are_out_of_reach(each: Engine) -> None:
    name = f"kedge-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        assert name not in inside(each, "cat /proc/net/unix")
        assert name in inside(each, "cat /proc/net/unix", "--network", "host", "--userns", "host")


def test_the_engine_cannot_be_reached(each: Engine) -> None:
    script = f"ls {each.root} 2>&1; ps -o pid,args | grep -c kedge[d]; kill -0 {each.pid} 2>&1"
    lines = inside(each, script + "; true").splitlines()
    assert "No such file" in lines[0]
    assert lines[1] == "0"
    assert "No such process" in lines[2]


def test_names_belong_to_the_container(each: Engine) -> None:
    script = "hostname; cat /proc/sys/kernel/domainname; readlink /proc/self/ns/* | sort"
    flags = ("--hostname", "box", "--domainname", "example.org")
    host, domain, *spaces = inside(each, script, *flags).split()
    assert (host, domain) == ("box", "example.org")
    for kind in ("mnt", "pid", "net", "ipc", "uts"):
        assert os.readlink(f"/proc/self/ns/{kind}") not in spaces


def test_read_only_root(each: Engine) -> None:
    script = (
        "touch /x /etc/hosts /etc/hostname /etc/resolv.conf 2>&1 | grep -c Read-only; "
        "touch /dev/shm/x && echo fine; mount -o remount,rw / || echo no"
    )
    assert inside(each, script, "--read-only").split() == ["4", "fine", "no"]


def test_files_are_kept_with_the_containers_ids(remapped: Engine) -> None:
    script = "chown 7:8 /etc/group; touch /v/new; chown 5:6 /v/new; ls -ln /etc/group /v/new"
    seen = inside(remapped, script, "-v", "named:/v").splitlines()
    assert [line.split()[2:4] for line in seen] == [["7", "8"], ["5", "6"]]
    volume = remapped.root / "data/volumes/named/_data/new"
    assert (volume.stat().st_uid, volume.stat().st_gid) == (5, 6)
    again = inside(remapped, "ls -ln /v/new", "-v", "named:/v", "--userns", "host")
    assert again.split()[2:4] == ["5", "6"]


def test_a_folder_of_the_host_keeps_the_hosts_ids(remapped: Engine) -> None:
    shared = remapped.root / "shared"
    shared.mkdir()
    script = "ls -ldn /s; touch /s/x || echo refused"
    seen = inside(remapped, script, "-v", f"{shared}:/s").split()
    assert seen[2:4] == ["65534", "65534"]
    assert seen[-1] == "refused"
    os.chown(shared, DEFAULT_FIRST_ID, DEFAULT_FIRST_ID)
    inside(remapped, "touch /s/x", "-v", f"{shared}:/s")
    assert (shared / "x").stat().st_uid == DEFAULT_FIRST_ID


def test_its_network_is_its_own(remapped: Engine) -> None:
    script = "ip link set lo mtu 1280 && cat /sys/class/net/lo/mtu; ls /sys/class/net"
    assert inside(remapped, script, "--cap-add", "NET_ADMIN").split() == ["1280", "eth0", "lo"]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--privileged"], "privileged mode is incompatible with user namespaces"),
        (["--network", "host"], "cannot share the host's network namespace when user namespaces"),
        (["--pid", "host"], "cannot share the host PID namespace when user namespaces"),
    ],
)
def test_what_a_user_namespace_excludes(remapped: Engine, flags: list[str], text: str) -> None:
    done = remapped.docker("run", "--rm", *flags, "busybox", "true", check=False)
    assert text in done.stderr
    assert done.returncode == 125
    assert inside(remapped, "id -u", *flags, "--userns", "host").strip() == "0"


def test_build_steps_run_in_it_and_leave_plain_ids(remapped: Engine) -> None:
    said = remapped.build(
        "FROM busybox\nRUN cat /proc/self/uid_map; touch /m; chown web /m\n", "made"
    )
    assert str(DEFAULT_FIRST_ID) in said
    assert inside(remapped, "stat -c %u /m; true").strip() == ""
    done = remapped.docker("run", "--rm", "--userns", "host", "made", "stat", "-c", "%u", "/m")
    assert done.stdout.strip() == "100"
