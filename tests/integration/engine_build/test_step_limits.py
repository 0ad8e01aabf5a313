"""What the steps of a build may use: each limit as the step sees it, and refused in one line."""

from pathlib import Path

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.integration

_SHOW = "FROM busybox\nRUN ulimit -n; df -k /dev/shm | tail -1; cat /proc/self/cgroup\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(_SHOW)
    return tmp_path


def test_a_step_has_the_limits_of_its_build(shared_engine: Engine, folder: Path) -> None:
    flags = ("--ulimit", "nofile=321:654", "--shm-size", "32m", "--cgroup-parent", "/kedge-team")
    for ask in (shared_engine.docker, shared_engine.kedge):
        printed = ask("build", "--no-cache", *flags, str(folder)).stdout
        assert "\n321\n" in printed
        assert " 32768 " in printed
        assert "/kedge-team/" in printed
    # They are in no key.
    assert "Using cache" in shared_engine.kedge("build", str(folder)).stdout


def test_memory_and_processors_are_limited(shared_engine: Engine, folder: Path) -> None:
    (folder / "Dockerfile").write_text(
        "FROM busybox\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1\n"
    )
    words = ("--memory", "32m", "--memory-swap", "32m", "--cpuset-cpus", "0", "--cpu-shares", "99")
    done = shared_engine.kedge("build", *words, str(folder), check=False)
    assert done.returncode != 0
    assert "non-zero code" in done.stderr
    (folder / "Dockerfile").write_text("FROM busybox\nRUN grep Cpus_allowed_list /proc/1/status\n")
    done = shared_engine.docker("build", "--cpuset-cpus", "0", str(folder))
    assert "Cpus_allowed_list:\t0\n" in done.stdout


@pytest.mark.parametrize(
    ("flag", "value", "why"),
    [
        ("--ulimit", "nosuch=1", "nosuch"),
        ("--memory", "1m", "Minimum memory limit"),
        ("--cgroup-parent", "../up", "must not contain .."),
        ("--cpuset-cpus", "4711", "4711"),
    ],
)
def test_a_limit_that_cannot_work(
    shared_engine: Engine, folder: Path, flag: str, value: str, why: str
) -> None:
    done = shared_engine.kedge("build", flag, value, str(folder), check=False)
    assert done.returncode != 0
    assert why in done.stderr
    assert "Step" not in done.stdout
