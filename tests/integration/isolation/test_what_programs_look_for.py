"""What programs read to learn where they are and how much they may use."""

from pathlib import Path

import pytest

from tests.engine import Engine
from tests.integration.isolation.conftest import inside

pytestmark = pytest.mark.integration


def test_the_file_that_marks_a_container_is_no_change_of_it(each: Engine) -> None:
    script = "stat -c '%s %u %a' /.dockerenv"
    name = each.docker("create", "busybox", "sh", "-c", script).stdout.strip()
    try:
        assert each.docker("start", "-a", name).stdout == "0 0 755\n"
        assert each.docker("diff", name).stdout == ""
    finally:
        each.docker("rm", name)


@pytest.mark.skipif(
    Path("/sys/fs/cgroup/cgroup.controllers").exists(), reason="these are the files of cgroup v1"
)
def test_the_cgroups_a_jvm_asks_for_are_shown_and_read_only(each: Engine) -> None:
    script = """
        cd /sys/fs/cgroup
        ls cpu/cpu.shares cpuacct/cpuacct.usage cpuset/cpuset.cpus memory/memory.limit_in_bytes
        cat cpuset/cpuset.cpus memory/memory.limit_in_bytes; wc -l < cpuset/tasks; ls -d cpuset/*/
        for i in *; do mkdir $i/x 2>/dev/null && echo made $i/x; done; true
    """
    *files, cpus, memory, tasks = inside(each, script, "--memory", "64m").split()
    assert len(files) == 4
    assert cpus == Path("/sys/fs/cgroup/cpuset/cpuset.cpus").read_text().strip()
    assert (memory, tasks) == (str(64 << 20), "0")


def test_a_network_without_ipv6_has_none(each: Engine) -> None:
    interfaces = inside(each, "cat /proc/net/if_inet6; ls /sys/class/net").split()
    assert "eth0" in interfaces
    assert not [line for line in interfaces if line.startswith("fe80")]


def test_a_link_too_small_for_ipv6_comes_up(each: Engine) -> None:
    each.docker("network", "create", "-o", "com.docker.network.driver.mtu=1000", "small")
    try:
        script = "cat /sys/class/net/eth0/mtu"
        assert inside(each, script, "--network", "small").strip() == "1000"
    finally:
        each.docker("network", "rm", "small")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "0 0 0"),
        (["--user", "web"], "100 101 101 104"),
        (["--user", "web:web"], "100 101 101"),
        (["--user", "7:9"], "7 9 9"),
        (["--user", "7:9", "--group-add", "web"], "7 9 9 101"),
    ],
)
def test_the_own_group_is_among_the_further_ones(
    each: Engine, flags: list[str], expected: str
) -> None:
    script = "id -u; id -g; grep Groups /proc/self/status | cut -f2"
    assert inside(each, script, *flags).split() == expected.split()
