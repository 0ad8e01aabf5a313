"""What happens and what is said when a stack cannot come up."""

import os
from pathlib import Path

import pytest

from tests.composeproject import Project
from tests.engine import Engine

pytestmark = pytest.mark.integration

_CHECK = "healthcheck: {test: %s, interval: 100ms, timeout: 5s, retries: 2}"


def test_dependents_start_when_their_conditions_hold(project: Project) -> None:
    project.write(f"""
services:
  web: {{image: busybox, init: true, command: sleep 1000, depends_on: {{
    db: {{condition: service_healthy}}, job: {{condition: service_completed_successfully}},
    extra: {{condition: service_healthy, required: false}}}}}}
  db: {{image: busybox, init: true, command: sh -c "touch /ok; exec sleep 1000",
       {_CHECK % '"test -f /ok"'}}}
  job: {{image: busybox, command: "true"}}
  extra: {{image: busybox, command: "false", {_CHECK % '"false"'}}}
""")
    done = project.compose("up", "-d")
    lines = done.stderr.splitlines()
    web = next(n for n, line in enumerate(lines) if line.endswith("web-1  Starting"))
    for words in ("db-1  Healthy", "job-1  Exited", "extra-1  Skipped"):
        assert any(words in line for line in lines[:web]), words
    assert project.states()["web-1"] == "running"
    # --wait wants every service to run: one that ended was not asked to.
    waited = project.compose("up", "--wait", check=False)
    assert waited.returncode == 1
    assert f"container {project.name}-extra-1 exited (1)" in waited.stderr


def test_an_unhealthy_dependency_is_told_with_its_last_words(project: Project) -> None:
    project.write(f"""
services:
  web: {{image: busybox, command: sleep 1000, depends_on: {{db: {{condition: service_healthy}}}}}}
  db: {{image: busybox, init: true, command: sh -c "echo starting up; exec sleep 1000",
       {_CHECK % '"echo not yet; false"'}}}
""")
    done = project.compose("up", "-d", check=False)
    assert done.returncode == 1
    message = f"dependency failed to start: container {project.name}-db-1 is unhealthy"
    assert f"kedge: {message}" in done.stderr
    assert "its health check said last:\n  not yet\n" in done.stderr
    assert "its last lines:\n  starting up\n" in done.stderr
    assert project.states()["web-1"] == "created"


def test_a_job_that_fails_is_told(project: Project) -> None:
    project.write("""
services:
  web: {image: busybox, depends_on: {job: {condition: service_completed_successfully}}}
  job: {image: busybox, command: sh -c "echo no schema >&2; exit 3"}
""")
    done = project.compose("up", "-d", check=False)
    assert done.returncode == 1
    assert 'kedge: service "job" didn\'t complete successfully: exit 3\n' in done.stderr
    assert "its last lines:\n  no schema\n" in done.stderr


def test_wait_gives_up_in_time(project: Project) -> None:
    project.write("""
services:
  s: {image: busybox, init: true, command: sleep 1000, healthcheck: {test: "false",
      interval: 1s, retries: 1000}}
""")
    done = project.compose("up", "--wait", "--wait-timeout", "1", check=False)
    assert done.returncode == 1
    assert "application not healthy after 1s" in done.stderr


def test_a_failed_build_leaves_nothing(project: Project) -> None:
    project.write("services: {a: {image: busybox}, b: {build: .}}")
    project.write("FROM busybox\nRUN echo oh no && exit 7\n", "Dockerfile")
    done = project.compose("up", "-d", check=False)
    assert done.returncode == 1
    assert f"kedge: service b: cannot build {project.name}-b: " in done.stderr
    assert "oh no" in done.stderr
    assert project.observed() == ((), (), ())


def test_a_container_that_cannot_start_is_named(project: Project) -> None:
    project.write("services: {s: {image: busybox, command: /nowhere}}")
    done = project.compose("up", "-d", check=False)
    assert done.returncode == 1
    assert f"kedge: service s: container {project.name}-s-1 does not start: " in done.stderr


def test_a_container_that_crashes_at_once_is_told(project: Project) -> None:
    # The hook of the other one takes until the first has ended.
    project.write("""
services:
  s: {image: busybox, command: sh -c "echo no database; exit 3"}
  t:
    image: busybox
    init: true
    command: sleep 1000
    depends_on: [s]
    post_start:
      - command: sh -c "for n in 1 2 3 4 5 6 7 8 9; do sleep 0.1; done"
""")
    done = project.compose("up", "-d")
    said = f"kedge: warning: service s: container {project.name}-s-1 has ended (exit code 3)\n"
    assert done.stderr.endswith(said + "its last lines:\n  no database\n")


def test_up_converges_after_the_engine_was_killed_in_the_middle(
    engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "middle"
    (folder / "f").mkdir(parents=True)
    project = Project(engine, folder)
    project.write(f"""
services:
  a: {{image: busybox, init: true, command: sleep 1000, volumes: ["./f:/f", "data:/d"],
      {_CHECK.replace("retries: 2", "retries: 1000") % '"test -e /f/ok"'}}}
  b: {{image: busybox, init: true, command: sleep 1000,
      depends_on: {{a: {{condition: service_healthy}}}}}}
volumes: {{data: }}
""")
    process = project.start("up", "-d")
    assert process.stderr is not None
    assert any(line.endswith("a-1  Waiting\n") for line in process.stderr)
    engine.kill()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the engine at " in told
    assert "Traceback" not in told
    (folder / "f" / "ok").touch()
    engine.start()
    project.compose("up", "-d")
    assert project.states() == {"a-1": "running", "b-1": "running"}
    project.end()
    assert project.observed() == ((), (), ())


def test_bad_files_make_nothing(project: Project) -> None:
    project.write("services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [a]}}")
    done = project.compose("up", "-d", check=False)
    assert done.returncode == 1
    assert "dependency cycle detected: a -> b -> a" in done.stderr
    assert project.observed() == ((), (), ())


def test_two_ups_at_once_end_with_one_stack(project: Project) -> None:
    project.write("""
services:
  a: {image: busybox, init: true, command: sleep 1000, depends_on: [b], volumes: ["data:/d"]}
  b: {image: busybox, init: true, command: sleep 1000, scale: 3}
volumes: {data: }
""")
    both = [project.start("up", "-d") for _ in range(2)]
    for process in both:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
    assert project.states() == dict.fromkeys(("a-1", "b-1", "b-2", "b-3"), "running")


def test_a_provider_gives_variables(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    program = project.folder / "docker-cloud"
    program.write_text("""#!/bin/sh
echo "$@" >>"$(dirname "$0")/calls"
echo '{"type": "info", "message": "working"}'
echo '{"type": "setenv", "message": "URL=http://x"}'
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{project.folder}:{os.environ['PATH']}")
    project.write("""
services:
  s: {image: busybox, init: true, command: sleep 1000, depends_on: [my-db]}
  my-db: {provider: {type: cloud, options: {size: 5, tags: [a, b]}}}
""")
    project.compose("up", "-d")
    environment = project.engine.docker("exec", f"{project.name}-s-1", "env").stdout
    assert "MY_DB_URL=http://x\n" in environment
    project.compose("down", "-t", "0")
    first, last = (project.folder / "calls").read_text().splitlines()
    assert first == f"compose --project-name={project.name} up --size=5 --tags=a --tags=b my-db"
    assert last.split()[2] == "down"
