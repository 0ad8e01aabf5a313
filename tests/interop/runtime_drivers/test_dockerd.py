"""``dockerd --add-runtime kedge=kedge-runtime``: the other engine with kedge's runtime below it.

Its network is set up from a prestart hook, its containers are in a user namespace.
"""

from collections.abc import Iterator

import pytest

from tests.interop.runtime_drivers.conftest import IMAGE, UNTIL_USR1, Driver

pytestmark = pytest.mark.interop


@pytest.fixture
def box(docker: Driver) -> Iterator[str]:
    flags = ("--name", "box", "--memory", "64m", "--init")
    docker("run", "-d", *flags, IMAGE, "sh", "-c", UNTIL_USR1)
    yield "box"
    docker("rm", "-f", "box")


def test_output_exit_codes_and_confinement(docker: Driver) -> None:
    script = "echo out; echo err >&2; cat /proc/self/uid_map; touch /x; ls /sys/class/net; exit 3"
    done = docker("run", "--rm", IMAGE, "sh", "-c", script, code=3)
    assert done.stdout.split() == ["out", "0", "3000000", "65536", "eth0", "lo"]
    assert done.stderr == "err\n"
    flags = ("--rm", "--user", "web", "--read-only", "--security-opt", "no-new-privileges")
    fields = docker.says(
        "run", *flags, IMAGE, "grep", "-E", "CapEff|NoNew|Seccomp:", "/proc/1/status"
    )
    assert fields.split()[1::2] == ["0" * 16, "1", "2"]
    assert "not found in $PATH" in docker("run", "--rm", IMAGE, "nosuch", code=127).stderr
    assert "is a directory" in docker("run", "--rm", IMAGE, "/etc", code=126).stderr


def test_privileged_and_host(docker: Driver) -> None:
    flags = ("--rm", "--privileged", "--userns", "host", "--pid", "host", "--network", "host")
    seen = docker.says(
        "run", *flags, IMAGE, "sh", "-c", "grep Seccomp: /proc/self/status; ip -o link"
    )
    assert seen.split()[:2] == ["Seccomp:", "0"]
    assert "docker0" in seen


def test_a_terminal(docker: Driver) -> None:
    words = (
        "run",
        "--rm",
        "-it",
        IMAGE,
        "sh",
        "-c",
        "tty; read line; until stty size | grep 3; do :; done; exit 4",
    )
    with docker.at_terminal(*words) as terminal:
        terminal.expect("/dev/pts/0")
        terminal.type("\n")
        terminal.expect("33 101")
        assert terminal.wait() == 4


def test_a_container_over_its_life(docker: Driver, box: str) -> None:
    assert docker.says("inspect", "-f", "{{.HostConfig.Runtime}}", box) == "kedge"
    assert docker("exec", box, "sh", "-c", "echo in; exit 5", code=5).stdout == "in\n"
    assert docker("exec", "-i", box, "cat", text="through").stdout == "through"
    assert (
        docker.says("exec", "-u", "web", "-w", "/etc", box, "sh", "-c", "id -u; pwd") == "100\n/etc"
    )
    assert "not found in $PATH" in docker("exec", box, "nosuch", code=126).stdout
    docker("pause", box)
    assert docker.says("inspect", "-f", "{{.State.Status}}", box) == "paused"
    docker("unpause", box)
    limits = ("--memory", "48m", "--memory-swap", "96m", "--pids-limit", "50")
    docker("update", *limits, box)
    stats = docker.says("stats", "--no-stream", "--format", "{{.MemUsage}}", box)
    assert stats.endswith("/ 48MiB")
    assert "docker-init -- sh -c trap" in docker.says("top", box)
    docker("kill", "-s", "USR1", box)
    assert docker.says("wait", box) == "7"
    assert docker.says("logs", box) == "up"
    docker("restart", "-t", "0", box)
    docker("kill", box)
    assert docker.says("wait", box) == "137"


def test_want_of_memory_is_told(docker: Driver) -> None:
    # containerd listens for it only when `start` has returned.
    script = "until test -e /go; do :; done; tail /dev/zero"
    docker("run", "-d", "--name", "big", "--memory", "8m", IMAGE, "sh", "-c", script)
    try:
        docker("exec", "big", "touch", "/go")
        assert docker.says("wait", "big") == "137"
        assert docker.says("inspect", "-f", "{{.State.OOMKilled}}", "big") == "true"
    finally:
        docker("rm", "-f", "big")
