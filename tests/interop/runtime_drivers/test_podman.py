"""``podman --runtime kedge-runtime``: conmon, not the engine, is what waits above it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.runtime_drivers.conftest import IMAGE, RUNTIME, UNTIL_USR1, Driver

pytestmark = pytest.mark.interop

RUN = ("run", "--rm", "--network", "none")


@pytest.fixture
def box(podman: Driver) -> Iterator[str]:
    flags = ("--name", "box", "--network", "none", "--memory", "64m")
    podman("run", "-d", *flags, IMAGE, "sh", "-c", UNTIL_USR1)
    yield "box"
    podman("rm", "-f", "-t", "0", "box")
    # Nothing of it is in the directory where the runtime keeps its containers.
    assert not [path for path in Path("/run/kedge-runtime").glob("*") if len(path.name) == 64]


def test_output_exit_codes_and_confinement(podman: Driver) -> None:
    script = "echo out; echo err >&2; grep -E 'CapEff|Seccomp:' /proc/self/status; id -u; exit 3"
    flags = ("--user", "web", "--read-only", "--cap-drop", "all")
    done = podman(*RUN, *flags, IMAGE, "sh", "-c", script, code=3)
    assert done.stdout.split() == ["out", "CapEff:", "0" * 16, "Seccomp:", "2", "100"]
    assert done.stderr == "err\n"
    assert "not found in $PATH" in podman(*RUN, IMAGE, "nosuch", code=127).stderr
    assert "is a directory" in podman(*RUN, IMAGE, "/etc", code=126).stderr


def test_a_user_namespace_of_its_own(podman: Driver) -> None:
    flags = ("--uidmap", "0:3000000:65536")
    seen = podman.says(*RUN, *flags, IMAGE, "sh", "-c", "cat /proc/self/uid_map; touch /x; id -u")
    assert seen.split() == ["0", "3000000", "65536", "0"]


def test_terminals(podman: Driver) -> None:
    with podman.at_terminal(*RUN, "-it", IMAGE, "sh", "-c", "tty; read line; exit 4") as terminal:
        terminal.expect("/dev/pts/0")
        terminal.type("\n")
        assert terminal.wait() == 4


def test_a_container_over_its_life(podman: Driver, box: str) -> None:
    assert podman.says("inspect", "-f", "{{.OCIRuntime}}", box) == str(RUNTIME)
    assert podman("exec", box, "sh", "-c", "echo in; exit 5", code=5).stdout == "in\n"
    assert podman("exec", "-i", box, "cat", text="through").stdout == "through"
    assert podman.says("exec", "--user", "web", box, "id", "-u") == "100"
    assert "not found in $PATH" in podman("exec", box, "nosuch", code=127).stderr
    with podman.at_terminal("exec", "-it", box, "sh", "-c", "tty; read line") as terminal:
        terminal.expect("/dev/pts/0")
        terminal.type("\n")
        assert terminal.wait() == 0
    podman("pause", box)
    assert podman.says("inspect", "-f", "{{.State.Status}}", box) == "paused"
    podman("unpause", box)
    podman("update", "--memory", "48m", box)
    limit = "cat memory/memory.limit_in_bytes || cat memory.max"
    assert podman.says("exec", "-w", "/sys/fs/cgroup", box, "sh", "-c", limit) == str(48 << 20)
    assert podman.says("stats", "--no-stream", "--format", "{{.PIDs}}", box) in {"1", "2"}
    assert podman.says(*RUN, "--pid", f"container:{box}", IMAGE, "cat", "/proc/1/comm") == "sh"
    podman("kill", "-s", "USR1", box)
    assert podman.says("wait", box) == "7"
    assert podman.says("logs", box) == "up"
    podman("start", box)
    podman("stop", "-t", "0", box)
    assert podman.says("inspect", "-f", "{{.State.ExitCode}}", box) == "137"
