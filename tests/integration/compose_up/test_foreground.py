"""``up`` in the foreground, and ``run``: output, exit codes, Ctrl-C."""

import signal
from pathlib import Path

import pytest

from tests.composeproject import Project, interrupt, read_until
from tests.engine import Engine

pytestmark = pytest.mark.integration


def test_output_has_prefixes_and_the_first_exit_can_end_everything(project: Project) -> None:
    project.write("""
services:
  job: {image: busybox, depends_on: [server], command: sh -c "echo out; echo err >&2; exit 3"}
  server: {image: busybox, init: true, command: sh -c "echo ready; exec sleep 1000"}
""")
    done = project.compose("up", "--abort-on-container-exit", check=False)
    assert done.returncode == 3
    out = done.stdout.splitlines()
    assert out[0] == "Attaching to job-1, server-1"
    assert {"job-1     | out", "server-1  | ready", "job-1 exited with code 3"} <= set(out)
    assert "job-1     | err" in done.stderr.splitlines()
    assert project.states() == {"job-1": "exited", "server-1": "exited"}
    done = project.compose("up", "--exit-code-from", "server", "--no-log-prefix", check=False)
    assert done.returncode == 143
    assert "out" in done.stdout.splitlines()
    ended = project.compose("up", "--no-attach", "server", "job")
    assert "server" not in ended.stdout


def test_up_ends_when_everything_has_ended(project: Project) -> None:
    project.write("""
services:
  a: {image: busybox, command: echo one}
  b: {image: busybox, command: printf unfinished}
""")
    done = project.compose("up")
    assert {"a-1  | one", "b-1  | unfinished"} <= set(done.stdout.splitlines())
    assert done.stdout.count("exited with code 0") == 2


def test_ctrl_c_stops_everything_gracefully(project: Project) -> None:
    project.write("""
services:
  a: {image: busybox,
      command: sh -c "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"}
""")
    process = project.start("up")
    read_until(process, "a-1  | up")
    interrupt(process)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Gracefully Stopping... press Ctrl+C again to force" in told
    assert "a-1  | bye" in out
    assert project.states() == {"a-1": "exited"}


def test_the_second_ctrl_c_kills(project: Project) -> None:
    project.write("""
services:
  a: {image: busybox, stop_grace_period: 10m,
      command: sh -c "trap 'echo deaf' TERM; echo up; while :; do sleep 0.1; done"}
""")
    process = project.start("up")
    read_until(process, "a-1  | up")
    interrupt(process)
    read_until(process, "a-1  | deaf")
    interrupt(process, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert project.states() == {"a-1": "exited"}


def test_run_is_one_more_container(project: Project) -> None:
    project.write("""
services:
  app: {image: busybox, command: "false", environment: {A: file}, ports: ["127.0.0.1::80"],
        container_name: fixed, depends_on: {db: {condition: service_healthy}}}
  db: {image: busybox, init: true, command: sleep 1000,
       healthcheck: {test: "true", interval: 100ms}}
""")
    script = "echo $A $B; ping -c 1 db >/dev/null && cat; exit 7"
    words = ("run", "--rm", "-T", "-e", "B=mine", "app", "sh", "-c", script)
    done = project.compose(*words, check=False, text="typed\n")
    assert (done.returncode, done.stdout) == (7, "file mine\ntyped\n")
    assert project.states() == {"db-1": "running"}
    container = project.compose("run", "-d", "--no-deps", "app", "sleep", "1000").stdout.strip()
    (one,) = [one for one in project.observed().containers if one.oneoff]
    assert one.id == container
    assert one.name.startswith(f"{project.name}-app-run-")
    missing = project.compose("run", "--rm", "app", "/nowhere", check=False)
    assert missing.returncode == 127
    project.compose("down", "-t", "0")
    assert [one.id for one in project.observed().containers] == [container]


def test_the_engine_going_away_ends_up_with_a_message(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "goes"
    folder.mkdir()
    project = Project(engine, folder)
    project.write("services: {a: {image: busybox, command: sh -c 'echo up; sleep 1000'}}")
    process = project.start("up")
    read_until(process, "a-1  | up")
    engine.kill()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "kedge: containers may still run: " in told
    engine.start()
    project.end()
    assert project.observed() == ((), (), ())
