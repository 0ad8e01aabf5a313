"""Containers that come back: after an exit, and with the engine."""

import contextlib
import json

import pytest

from kedge.errdefs import InvalidParameterError
from kedge.lib.clock import SYSTEM_CLOCK
from tests.engine import Engine
from tests.integration.engine_crash.truth import assert_true, state, status, until

pytestmark = pytest.mark.integration


def count(engine: Engine, name: str) -> object:
    return engine.get(f"/containers/{name}/json")["RestartCount"]


def run(engine: Engine, name: str, policy: str, script: str) -> None:
    engine.docker("run", "-d", "--name", name, "--restart", policy, "busybox", "sh", "-c", script)


def actions(engine: Engine, name: str) -> list[str]:
    now = SYSTEM_CLOCK.time_ns() / 1e9
    done = engine.docker(
        "events", "--since", "10m", "--until", f"{now:.9f}", "--filter", f"container={name}",
        "--format", "{{.Action}}",
    )  # fmt: skip
    return done.stdout.split()


def test_on_failure_tries_as_often_as_it_may(engine: Engine) -> None:
    run(engine, "fails", "on-failure:2", "echo try; exit 4")
    until(lambda: status(engine, "fails") == "exited", "it gave up")
    found = state(engine, "fails")
    assert (found["ExitCode"], found["Running"], count(engine, "fails")) == (4, False, 2)
    assert engine.docker("logs", "fails").stdout == "try\n" * 3
    assert actions(engine, "fails") == ["create", *["start", "die"] * 3]
    run(engine, "works", "on-failure", "exit 0")
    assert engine.docker("wait", "works").stdout == "0\n"
    assert (status(engine, "works"), count(engine, "works")) == ("exited", 0)


def test_a_container_between_two_runs(engine: Engine) -> None:
    run(engine, "loop", "always", "exit 3")
    until(lambda: count(engine, "loop") == 4 and status(engine, "loop") == "restarting", "it waits")
    found = state(engine, "loop")
    assert (found["Running"], found["Restarting"], found["Pid"]) == (True, True, 0)
    listed = engine.docker("ps", "--filter", "name=loop", "--format", "{{.Status}}").stdout
    assert listed.startswith("Restarting (3) ")
    for verb in ("pause", "exec"):
        done = engine.docker(verb, "loop", *(["true"] if verb == "exec" else []), check=False)
        assert "is restarting, wait until the container is running" in done.stderr
    done = engine.docker("rm", "loop", check=False)
    assert "container is restarting: stop the container before removing" in done.stderr
    assert engine.docker("start", "loop").stdout == "loop\n"
    assert engine.docker("wait", "loop").stdout == "3\n"
    engine.docker("stop", "loop")
    assert status(engine, "loop") == "exited"
    assert actions(engine, "loop")[-1] == "stop"
    engine.docker("start", "loop")
    until(lambda: count(engine, "loop") == 2, "the count began anew")
    engine.docker("rm", "-f", "loop")
    assert_true(engine)


def test_who_is_told_to_end_stays_down(engine: Engine) -> None:
    for verb in ("stop -t0", "kill"):
        name = verb.split()[0]
        run(engine, name, "always", "sleep 600")
        engine.docker(*verb.split(), name)
        engine.docker("wait", name)
        assert (status(engine, name), count(engine, name)) == ("exited", 0)
        assert state(engine, name)["ExitCode"] == 137


def test_a_signal_that_is_no_end_keeps_the_policy(engine: Engine) -> None:
    run(engine, "told", "always", "trap 'exit 5' USR1; echo up; while :; do sleep 0.05; done")
    until(lambda: engine.docker("logs", "told").stdout, "it runs")
    engine.docker("kill", "-s", "USR1", "told")
    until(lambda: count(engine, "told") == 1, "it came back")
    engine.docker("update", "--restart", "no", "told")
    until(lambda: status(engine, "told") == "running", "it runs")
    until(lambda: engine.docker("logs", "told").stdout == "up\nup\n", "it listens")
    engine.docker("kill", "-s", "USR1", "told")
    until(lambda: status(engine, "told") == "exited", "it stays down now")
    engine.docker("rm", "told")


def test_an_update_of_a_container_that_removes_itself(engine: Engine) -> None:
    engine.docker("run", "-d", "--rm", "--name", "brief", "busybox", "sleep", "600")
    done = engine.docker("update", "--restart", "always", "brief", check=False)
    assert "because AutoRemove is enabled for the container" in done.stderr
    body = json.dumps(
        {
            "Image": "busybox",
            "HostConfig": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}},
        }
    ).encode()
    with contextlib.closing(engine.client()) as client, pytest.raises(InvalidParameterError):
        client.request("POST", "/containers/create", body=body, content_type="application/json")
    engine.docker("rm", "-f", "brief")
