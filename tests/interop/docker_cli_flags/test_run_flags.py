"""Flags of ``run`` that the client has a part in, through the official CLI and ``kedge``."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import pytest

from tests.engine import DOCKER, Engine

pytestmark = pytest.mark.interop

DOUBLE = 'BEGIN { s = "x"; while (1) s = s s }'
V1 = not Path("/sys/fs/cgroup/cgroup.controllers").exists()


class Cli(Protocol):
    """One of the two clients."""

    def __call__(
        self, *words: str, check: bool = True, text: str = ""
    ) -> "subprocess.CompletedProcess[str]": ...


@pytest.fixture(params=["docker", "kedge"])
def cli(request: pytest.FixtureRequest, engine: Engine) -> Cli:
    return engine.docker if request.param == "docker" else engine.kedge


def test_detached_interactive_terminal_and_removed(cli: Cli) -> None:
    name = cli("run", "-dit", "--rm", "--name", "one", "busybox", "sh").stdout.strip()
    assert len(name) == 64
    shown = cli("inspect", "-f", "{{.Config.Tty}} {{.Config.OpenStdin}}", "one").stdout.split()
    assert shown == ["true", "true"]
    assert cli("exec", "one", "readlink", "/proc/1/fd/0").stdout == "/dev/pts/0\n"
    cli("stop", "-t", "0", "one")
    while cli("ps", "-aq").stdout:
        time.sleep(0.01)
    assert cli("run", "-i", "--rm", "busybox", "cat", text="some words\n").stdout == "some words\n"
    assert cli("run", "--rm", "busybox", "cat", text="some words\n").stdout == ""


def test_files_of_ids_variables_and_labels(cli: Cli, tmp_path: Path) -> None:
    ids, variables, labels = (tmp_path / name for name in ("id", "env", "labels"))
    variables.write_text("# comment\nA=1\nB=x y\nFROM_OUTSIDE\n")
    labels.write_text("team=blue\n")
    flags = ["--cidfile", str(ids), "--env-file", str(variables), "--label-file", str(labels)]
    script = 'echo "$A-$B-$C-${FROM_OUTSIDE-none}"'
    done = cli("run", *flags, "-l", "a=b", "-e", "C=3", "busybox", "sh", "-c", script)
    assert done.stdout == "1-x y-3-none\n"
    name = ids.read_text()
    assert len(name) == 64
    form = '{{index .Config.Labels "team"}} {{index .Config.Labels "a"}}'
    assert cli("inspect", "-f", form, name).stdout == "blue b\n"
    again = cli("run", *flags, "busybox", "true", check=False)
    assert again.returncode == 125
    assert "container ID file" in again.stderr
    assert len(cli("ps", "-aq").stdout.split()) == 1


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["--pull", "never", "busybox"], 0, ""),
        (["--pull", "missing", "busybox"], 0, ""),
        (["--pull", "never", "nosuch"], 125, "No such image: nosuch"),
        (["--pull", "sometimes", "busybox"], 125, "must be one of"),
        (["--platform", "linux", "busybox"], 0, ""),
        (["--gpus", "all", "busybox"], 125, "could not select device driver"),
        (["--device", "vendor.com/class=x", "busybox"], 125, "unresolvable CDI devices"),
        (["--ulimit", "speed=1", "busybox"], 125, "invalid ulimit type: speed"),
        (["--device-cgroup-rule", "x", "busybox"], 125, "invalid device cgroup"),
        (["--cgroupns", "maybe", "busybox"], 125, "cgroup"),
        (["--userns", "maybe", "busybox"], 125, "invalid USER mode"),
    ],
)  # fmt: skip
def test_what_is_refused_and_what_is_not(cli: Cli, flags: list[str], code: int, text: str) -> None:
    done = cli("run", "--rm", *flags, "echo", "ran", check=False)
    assert (done.returncode, done.stdout) == (code, "" if code else "ran\n")
    assert text in done.stderr
    assert cli("ps", "-aq").stdout == ""


def test_entrypoint_annotation_and_stop(cli: Cli) -> None:
    assert cli("run", "--rm", "--entrypoint", "echo", "busybox", "hi").stdout == "hi\n"
    trap = 'trap "echo told; exit 5" USR1; : > /ready; while :; do sleep 0.02; done'
    cli(
        "run", "-d", "--name", "one", "--annotation", "org.example=1", "--stop-signal", "USR1",
        "--stop-timeout", "59", "busybox", "sh", "-c", trap,
    )  # fmt: skip
    cli("exec", "one", "sh", "-c", "until [ -e /ready ]; do sleep 0.02; done")
    assert cli("inspect", "-f", "{{.Config.StopTimeout}}", "one").stdout == "59\n"
    assert cli("inspect", "-f", "{{json .HostConfig.Annotations}}", "one").stdout == (
        '{"org.example":"1"}\n'
    )
    cli("stop", "one")
    assert cli("wait", "one").stdout == "5\n"
    assert cli("logs", "one").stdout == "told\n"


def test_volumes_of_others_and_images_as_mounts(cli: Cli) -> None:
    cli("run", "--name", "one", "-v", "/data", "busybox", "sh", "-c", "echo kept > /data/file")
    script = "cat /data/file; touch /data/x 2>&1 || true; ls /image/bin/busybox"
    mount = "type=image,source=busybox,target=/image"
    flags = ["--volumes-from", "one:ro", "--mount", mount]
    lines = cli("run", "--rm", *flags, "busybox", "sh", "-c", script).stdout.splitlines()
    assert (lines[0], lines[2]) == ("kept", "/image/bin/busybox")
    assert "Read-only file system" in lines[1]


def test_a_device_rule_opens_what_no_device_was_given_for(cli: Cli) -> None:
    script = "mknod /t c 10 200; (exec 3<>/t) 2>&1 && echo open"
    closed = cli("run", "--rm", "busybox", "sh", "-c", script, check=False).stdout
    assert closed.rpartition(": ")[2] == "Operation not permitted\n"
    flags = ["--device-cgroup-rule", "c 10:200 rw"]
    assert cli("run", "--rm", *flags, "busybox", "sh", "-c", script).stdout == "open\n"


@pytest.mark.skipif(not V1, reason="cgroup v2 cannot switch the OOM killer off")
def test_without_an_oom_killer_a_process_waits_for_memory(cli: Cli) -> None:
    flags = ["--memory", "16m", "--memory-swap", "16m", "--oom-kill-disable"]
    cli("run", "-d", "--name", "one", *flags, "busybox", "awk", DOUBLE)
    name = cli("inspect", "-f", "{{.Id}}", "one").stdout.strip()
    control = Path(f"/sys/fs/cgroup/memory/kedge/{name}/memory.oom_control")
    while "under_oom 1" not in control.read_text():
        time.sleep(0.01)
    assert cli("inspect", "-f", "{{.State.Status}}", "one").stdout == "running\n"
    cli("rm", "-f", "one")


@pytest.mark.parametrize("program", ["docker", "kedge"])
@pytest.mark.parametrize(
    ("flag", "expected"), [("--sig-proxy=true", "got"), ("--sig-proxy=false", "")]
)
def test_signals_of_the_client(engine: Engine, program: str, flag: str, expected: str) -> None:
    command = (
        [str(DOCKER)] if program == "docker"
        else [sys.executable, "-c", "from kedge.cli.main import main; main()"]
    )  # fmt: skip
    script = 'trap "echo got" USR1; echo ready; until [ -e /end ]; do sleep 0.02; done'
    environment = {**os.environ, "DOCKER_HOST": engine.host, "KEDGE_HOST": engine.host}
    with subprocess.Popen(
        [*command, "run", flag, "--name", "one", "busybox", "sh", "-c", script],
        stdout=subprocess.PIPE, text=True, env=environment,
    ) as client:  # fmt: skip
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        client.send_signal(signal.SIGUSR1)
        if expected:
            assert client.stdout.readline() == "got\n"
        engine.docker("exec", "one", "touch", "/end")
        client.communicate(timeout=30)
    assert engine.docker("logs", "one").stdout.split() == ["ready", *expected.split()]
