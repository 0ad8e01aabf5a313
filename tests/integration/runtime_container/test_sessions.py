"""Terminals, exec, hooks."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.errdefs import ConflictError, NotFoundError, SystemFailureError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux import process
from kedge.oci.runtime_spec import parse_process, parse_spec
from kedge.runtime.cgroups import Cgroup
from kedge.runtime.container import Created, Stdio
from kedge.runtime.execute import exec_process
from tests.integration.runtime_container.conftest import Run, read_all

pytestmark = pytest.mark.integration

Spec = Callable[[str], JsonObject]


def terminal_of(document: JsonObject) -> JsonObject:
    inner = document["process"]
    assert isinstance(inner, dict)
    inner["terminal"] = True
    inner["consoleSize"] = {"height": 40, "width": 100}
    return inner


def test_a_terminal_of_the_container_s_own_devpts(run: Run, shell_spec: Spec) -> None:
    document = shell_spec(
        "tty; stat -c %t:%T /dev/console; echo to-tty > /dev/tty; stat -c %u /dev/pts/0"
    )
    terminal_of(document)["user"] = {"uid": 1000, "gid": 1000}
    lines = run(document).output.split("\r\n")
    assert lines[:4] == ["/dev/pts/0", "88:0", "to-tty", "1000"]


class Exec:
    """Runs further processes in a container that sleeps."""

    def __init__(self, created: Created, document: JsonObject, cgroup: Cgroup) -> None:
        self.created = created
        self.spec = parse_spec(document)
        self.cgroup = cgroup

    def __call__(self, script: str, **fields: Json) -> tuple[int, str]:
        reading, writing = os.pipe()
        inner: JsonObject = {"cwd": "/", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}
        inner.update(fields)
        try:
            started = exec_process(
                self.created.pidfd,
                self.spec,
                parse_process(inner),
                init_pid=self.created.pid,
                container_id="test",
                stdio=Stdio(-1, writing, writing),
                cgroup=self.cgroup,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        output = read_all(reading if started.pty_master < 0 else started.pty_master)
        code = os.waitstatus_to_exitcode(os.waitpid(started.pid, 0)[1])
        for fd in (reading, started.pidfd, started.pty_master):
            if fd >= 0:
                os.close(fd)
        return code, output


def in_container(
    run: Run, document: JsonObject, cgroup: Cgroup, check: Callable[[Exec], None]
) -> None:
    def meanwhile(created: Created) -> None:
        try:
            check(Exec(created, document, cgroup))
        finally:
            process.send_signal(created.pidfd, signal.SIGKILL)

    assert run(document, meanwhile=meanwhile).code == -9


def test_exec_joins_everything(run: Run, shell_spec: Spec, cgroup: Cgroup) -> None:
    document = shell_spec("sleep 60")
    document["annotations"] = {"org.kedge.seccomp": "default"}

    def check(execute: Exec) -> None:
        kinds = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")
        script = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds)
        init = [os.readlink(f"/proc/{execute.created.pid}/ns/{kind}") for kind in kinds]
        assert execute(script) == (0, "".join(f"{each}\n" for each in init))
        code, output = execute("hostname; cat /proc/self/cgroup; grep Seccomp: /proc/self/status")
        assert code == 0
        assert output.startswith("box\n")
        assert all(line.endswith(":/") for line in output.split("\n") if line.count(":") == 2)
        assert "Seccomp:\t2\n" in output

    in_container(run, document, cgroup, check)


def test_exec_has_its_own_user_capabilities_and_streams(
    run: Run, shell_spec: Spec, cgroup: Cgroup
) -> None:
    document = shell_spec("sleep 60")

    def check(execute: Exec) -> None:
        assert execute("id -u; exit 7", user={"uid": 1000, "gid": 5}) == (7, "1000\n")
        assert "0000000000000000" in execute("grep CapEff /proc/self/status")[1]
        assert execute("tty", terminal=True) == (0, "/dev/pts/0\r\n")
        fds = execute("ls -1 /proc/$$/fd; true")[1].split()
        assert [fd for fd in fds if int(fd) < 10] == ["0", "1", "2"]
        with pytest.raises(NotFoundError, match='exec: "x": executable file not found in \\$PATH'):
            execute("", args=["x"])

    in_container(run, document, cgroup, check)


def test_exec_after_the_end_is_a_conflict(run: Run, shell_spec: Spec, cgroup: Cgroup) -> None:
    document = shell_spec("sleep 60")

    def check(execute: Exec) -> None:
        process.send_signal(execute.created.pidfd, signal.SIGKILL)
        os.waitid(os.P_PID, execute.created.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ConflictError, match="is not running"):
            execute("true")

    def meanwhile(created: Created) -> None:
        check(Exec(created, document, cgroup))

    assert run(document, meanwhile=meanwhile).code == -9


def test_hooks_run_in_order_and_see_the_state(run: Run, bundle: Path, shell_spec: Spec) -> None:
    log = bundle / "log"
    document = shell_spec("true")

    def hook(kind: str, where: str) -> list[Json]:
        script = f"echo {kind} >> {where}; cat >> {where}.state"
        return [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]

    hooks: JsonObject = {
        kind: hook(kind, str(log))
        for kind in ("prestart", "createRuntime", "createContainer", "poststart")
    }
    hooks["startContainer"] = hook("startContainer", "/inside")
    document["hooks"] = hooks
    assert run(document).code == 0
    assert log.read_text().split() == ["prestart", "createRuntime", "createContainer", "poststart"]
    assert (bundle / "rootfs/inside").read_text() == "startContainer\n"
    assert '"status": "creating"' in (bundle / "log.state").read_text()
    assert '"status": "created"' in (bundle / "rootfs/inside.state").read_text()
    assert '"pid": 1,' in (bundle / "rootfs/inside.state").read_text()


def test_a_failing_hook_undoes_everything(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("true")
    document["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    with pytest.raises(SystemFailureError, match="createRuntime hook /bin/false failed with 1"):
        run(document)


def test_a_late_hook_is_killed(run: Run, shell_spec: Spec) -> None:
    document = shell_spec("true")
    hook: JsonObject = {"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}
    document["hooks"] = {"createRuntime": [hook]}
    with pytest.raises(SystemFailureError, match="ran longer than 1 s"):
        run(document)
