"""``--runtime``: containers that crun and runc run, driven as any other."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.engine import Engine, busybox_context, running_engine
from tests.integration.engine_crash.truth import until
from tests.interop.oci_runtimes.conftest import PROGRAMS

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.interop


class Run(Protocol):
    """Runs a container to its end."""

    def __call__(
        self, *words: str, check: bool = True, text: str = ""
    ) -> "subprocess.CompletedProcess[str]": ...


@pytest.fixture
def run(engine: Engine, runtime: str) -> Run:
    """``docker run --rm`` under the runtime."""

    def call(*words: str, check: bool = True, text: str = "") -> "subprocess.CompletedProcess[str]":
        flags = ("--rm", "--runtime", runtime)
        return engine.docker("run", *flags, *words, check=check, text=text)

    return call


@pytest.fixture
def box(engine: Engine, runtime: str) -> Iterator[str]:
    flags = ("--name", "box", "--memory", "64m", "--restart", "on-failure")
    script = "trap 'exit 7' USR1; echo up; while sleep 0.1; do :; done"
    engine.docker("run", "-d", "--runtime", runtime, *flags, "busybox", "sh", "-c", script)
    yield "box"
    engine.docker("rm", "-f", "box")


def state(engine: Engine, box: str, template: str) -> str:
    return engine.docker("inspect", "-f", template, box).stdout.strip()


def test_output_and_exit_codes(run: Run, runtime: str) -> None:
    done = run("busybox", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)
    assert run("-i", "busybox", "cat", text="through").stdout == "through"
    assert run("-t", "busybox", "tty").stdout.strip() == "/dev/pts/0"
    assert run("busybox", "nosuch", check=False).returncode == 127
    # crun's words for what cannot be executed are none that Docker's client knows.
    assert run("busybox", "/etc", check=False).returncode == (126 if runtime == "runc" else 125)


def test_confinement_is_the_same(run: Run) -> None:
    script = "grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status; id -u; hostname; pwd"
    flags = ("--user", "web", "--hostname", "inside", "--workdir", "/etc")
    seen = run(*flags, "busybox", "sh", "-c", script).stdout.split()
    assert seen[1::2][:1] == ["0000000000000000"]
    assert "2" in seen
    assert seen[-3:] == ["100", "inside", "/etc"]
    assert "00000000a80425fb" in run("busybox", "grep", "CapEff", "/proc/self/status").stdout
    denied = run("busybox", "sh", "-c", "unshare -U true || echo no", check=False).stdout
    assert denied == "no\n"


def test_network_names_and_files(engine: Engine, run: Run, tmp_path: Path) -> None:
    engine.docker("run", "-d", "--name", "peer", "busybox", "sleep", "1000")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/file").write_text("seen")
    engine.docker(
        "run", "--rm", "-v", "vol:/v", "busybox", "sh", "-c", "mkdir /v/sub; echo s > /v/sub/f"
    )
    try:
        assert "1 packets received" in run("busybox", "ping", "-c1", "peer").stdout
        script = "cat /b/below/file /s/f; touch /b/x || echo fixed; touch /t/x && ls /t"
        seen = run(
            "-v", f"{tmp_path}:/b:ro", "--tmpfs", "/t",
            "--mount", "type=volume,source=vol,target=/s,volume-subpath=sub",
            "busybox", "sh", "-c", script,
        ).stdout.split()  # fmt: skip
        assert seen == ["seens", "fixed", "x"]
    finally:
        engine.docker("rm", "-fv", "peer")
        engine.docker("volume", "rm", "vol")


def test_a_container_over_its_life(engine: Engine, runtime: str, box: str) -> None:
    assert state(engine, box, "{{.HostConfig.Runtime}}") == runtime
    assert (
        engine.docker("exec", "-e", "A=b", "-w", "/etc", box, "sh", "-c", "echo $A; pwd").stdout
        == "b\n/etc\n"
    )
    assert engine.docker("exec", "-t", box, "tty").stdout.startswith("/dev/pts/")
    assert engine.docker("exec", "-i", box, "cat", text="in").stdout == "in"
    assert engine.docker("exec", box, "sh", "-c", "exit 5", check=False).returncode == 5
    failed = engine.docker("exec", box, "nosuch", check=False)
    assert failed.returncode == 127, failed
    assert "sleep" in engine.docker("top", box).stdout
    line = json.loads(engine.docker("stats", "--no-stream", "--format", "json", box).stdout)
    assert line["MemUsage"].endswith("64MiB")
    assert int(line["PIDs"]) >= 1
    engine.docker("pause", box)
    assert state(engine, box, "{{.State.Status}}") == "paused"
    engine.docker("unpause", box)
    engine.docker("update", "--memory", "48m", "--memory-swap", "96m", box)
    limit = engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", box).stdout
    assert limit.strip().endswith("48MiB")
    engine.docker("cp", f"{box}:/etc/passwd", str(engine.root / "passwd"))
    assert "web" in (engine.root / "passwd").read_text()
    assert "up" in engine.docker("logs", box).stdout
    before = state(engine, box, "{{.State.Pid}}")
    engine.docker("restart", "-t", "0", box)
    assert state(engine, box, "{{.State.Pid}}") not in {"0", before}
    engine.docker("stop", "-t", "0", box)
    assert state(engine, box, "{{.State.ExitCode}}") == "137"
    engine.docker("start", box)
    assert not os.path.exists(f"/proc/{before}")


def test_policies_and_probes(engine: Engine, runtime: str, box: str) -> None:
    engine.docker("exec", box, "touch", "/ok")
    first = state(engine, box, "{{.State.Pid}}")
    engine.docker("kill", "-s", "USR1", box)
    until(lambda: state(engine, box, "{{.RestartCount}}") == "1", "its policy starts it again")
    until(lambda: state(engine, box, "{{.State.Pid}}") not in {"0", first}, "it runs again")
    flags = (
        "--runtime",
        runtime,
        "--health-interval",
        "50ms",
        "--health-cmd",
        "test -e /etc/group",
    )
    engine.docker("run", "-d", "--name", "probed", *flags, "busybox", "sleep", "1000")
    try:
        until(
            lambda: state(engine, "probed", "{{.State.Health.Status}}") == "healthy", "it is well"
        )
    finally:
        engine.docker("rm", "-f", "probed")


def test_an_engine_that_was_killed_comes_back_to_them(runtime: str) -> None:
    with running_engine(f"--add-runtime={runtime}={PROGRAMS[runtime]}") as engine:
        engine.build_tar(busybox_context(), "busybox")
        script = "trap 'exit 9' TERM; echo up; while sleep 0.1; do :; done"
        flags = ("--name", "box", "--runtime", runtime)
        engine.docker("run", "-d", *flags, "busybox", "sh", "-c", script)
        until(lambda: engine.docker("logs", "box").stdout, "it obeys")
        before = state(engine, "box", "{{.State.Pid}}")
        engine.kill()
        engine.start()
        assert state(engine, "box", "{{.State.Pid}}") == before
        assert engine.docker("exec", "box", "echo", "here").stdout == "here\n"
        engine.docker("stop", "box")
        assert state(engine, "box", "{{.State.ExitCode}}") == "9"


def test_one_with_arguments_for_all_containers(runtime: str, tmp_path: Path) -> None:
    # A program that shows what it was called with, then is the runtime.
    called = tmp_path / "called"
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\necho "$1" >>{called}\nshift\nexec {PROGRAMS[runtime]} "$@"\n')
    wrapper.chmod(0o755)
    settings = tmp_path / "daemon.json"
    named = {"path": str(wrapper), "runtimeArgs": ["--strange word"]}
    settings.write_text(json.dumps({"runtimes": {"mine": named}, "default-runtime": "mine"}))
    with running_engine(f"--config-file={settings}") as engine:
        engine.build_tar(busybox_context(), "busybox")
        engine.docker("run", "--name", "box", "busybox", "true")
        assert state(engine, "box", "{{.HostConfig.Runtime}}") == "mine"
        assert set(called.read_text().splitlines()) == {"--strange word"}
        info = engine.get("/info")
        assert info["DefaultRuntime"] == "mine"
        assert "mine" in str(info["Runtimes"])
        called.unlink()
        engine.docker("run", "--rm", "--runtime", "kedge", "busybox", "true")
        assert not called.exists()


def test_what_cannot_be(engine: Engine) -> None:
    done = engine.docker("run", "--runtime", "nosuch", "busybox", "true", check=False)
    assert "unknown or invalid runtime name: nosuch" in done.stderr
    assert done.returncode == 125
    done = engine.docker("run", "--rm", "--runtime", "gone", "busybox", "true", check=False)
    assert "cannot run /nonexistent/gone: no such file or directory" in done.stderr
    runtimes = engine.get("/info")["Runtimes"]
    assert isinstance(runtimes, dict)
    assert {"kedge", "crun", "runc", "gone"} >= set(runtimes) >= {"kedge", "gone"}
