"""An exec without a copy of the shim's process: what it gives is what the ordinary one gives."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.linux import vfork
from kedge.oci.runtime_spec import parse_process
from kedge.runtime import execute, quick_exec
from kedge.runtime.cgroups import make_cgroup
from kedge.runtime.container import Stdio
from kedge.shim.runtime_task import load_spec
from tests.engine import Engine

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not vfork.is_supported(), reason="the machine code is x86_64's"),
]

LOOK = r"""
    grep -v -E '^(Name|P?Pid|Tgid|NSpid|NStgid|NSpgid|NSsid|Vm|Rss|.*ctxt|Speculation|THP|SigQ)' /proc/self/status
    cat /proc/self/limits /proc/self/oom_score_adj /proc/self/cgroup; pwd; env | sort; umask
    readlink /proc/self/ns/*; ls /proc/self/fd; readlink /proc/self/fd/0; cat /proc/self/mounts
"""  # noqa: E501


class Box:
    """A container, and exec in it as its shim does it, from this process."""

    def __init__(self, engine: Engine, *flags: str) -> None:
        self.engine = engine
        self.id = engine.docker("run", "-d", *flags, "busybox", "sleep", "600").stdout.strip()
        self.bundle = str(engine.root / "exec/shims" / self.id)
        self.init = int(engine.docker("inspect", "-f", "{{.State.Pid}}", self.id).stdout)

    def run(self, *words: str, user: tuple[int, int] = (0, 0)) -> tuple[str, int]:
        spec = load_spec(self.bundle)
        document = json.loads(Path(self.bundle, "config.json").read_text())["process"]
        document |= {"args": [*words], "user": {"uid": user[0], "gid": user[1]}}
        pidfd = os.pidfd_open(self.init)
        with tempfile.TemporaryFile() as output:
            started = execute.exec_process(
                pidfd, spec, parse_process(document), init_pid=self.init, container_id=self.id,
                stdio=Stdio(-1, output.fileno(), output.fileno()),
                cgroup=make_cgroup(f"kedge/{self.id}"), alone=True,
            )  # fmt: skip
            code = os.waitstatus_to_exitcode(os.waitpid(started.pid, 0)[1])
            os.close(started.pidfd)
            os.close(pidfd)
            output.seek(0)
            return output.read().decode(), code


@pytest.fixture
def box(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Box]:
    made = Box(engine, *getattr(request, "param", ()))
    yield made
    engine.docker("rm", "-f", made.id)


@pytest.fixture
def no_fork(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def refuse(_run: object) -> None:
        pytest.fail("the ordinary way was taken")

    monkeypatch.setattr(execute, "fork_child", refuse)
    return monkeypatch


def _never(_launch: object, _spec: object) -> bool:
    return False


@pytest.mark.parametrize("user", [(0, 0), (100, 101)])
@pytest.mark.parametrize(
    "box",
    [
        (),
        ("--security-opt", "no-new-privileges", "--cap-drop", "ALL", "--oom-score-adj", "300"),
        ("--security-opt", "seccomp=unconfined", "-w", "/etc", "--cap-add", "SYS_ADMIN"),
    ],
    indirect=True,
)
def test_both_ways_make_the_same_process(
    box: Box, user: tuple[int, int], no_fork: pytest.MonkeyPatch
) -> None:
    quick, code = box.run("sh", "-c", LOOK, user=user)
    assert code == 0
    assert "Seccomp" in quick
    no_fork.undo()
    no_fork.setattr(quick_exec, "is_usual", _never)
    assert box.run("sh", "-c", LOOK, user=user) == (quick, 0)


@pytest.mark.parametrize(
    "box", [("--cap-add", "SYS_PTRACE"), ("--ulimit", "core=0")], indirect=True
)
def test_who_may_trace_or_is_special_goes_the_ordinary_way(
    box: Box, no_fork: pytest.MonkeyPatch
) -> None:
    with pytest.raises(pytest.fail.Exception):
        box.run("true")
    no_fork.undo()
    assert box.run("echo", "well") == ("well\n", 0)


def test_another_null_device_is_not_taken(box: Box, no_fork: pytest.MonkeyPatch) -> None:
    box.engine.docker("exec", box.id, "sh", "-c", "rm /dev/null; mknod /dev/null c 1 5")
    with pytest.raises(pytest.fail.Exception):
        box.run("true")
    del no_fork


@pytest.mark.parametrize(
    "box", [("--memory", "16m", "--memory-swap", "16m", "--pids-limit", "64")], indirect=True
)
def test_want_of_memory_costs_the_shim_nothing(box: Box) -> None:
    """The OOM killer takes all who share the memory of its victim, and spares vfork children."""
    docker = box.engine.docker
    docker("exec", "-d", box.id, "sh", "-c", "while :; do tail /dev/zero; done")
    ended = [docker("exec", box.id, "true", check=False).returncode for _ in range(12)]
    assert set(ended) <= {0, 137, 128 + 11, 126}
    assert docker("inspect", "-f", "{{.State.Status}}", box.id).stdout == "running\n"
    docker("kill", box.id)
    assert docker("wait", box.id).stdout == "137\n"
