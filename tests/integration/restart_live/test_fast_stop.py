"""A stop whose signal nobody can hear does not sit the grace period out; every other one does.

Grace periods here are far beyond the patience of the client that asks, so a wait is a failure.
"""

import json
import sys

import pytest

from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.jsontypes import JsonObject
from tests.engine import Engine
from tests.integration.engine_crash.truth import state, until

pytestmark = pytest.mark.integration

_LONG = ("stop", "-t", "3600")


def kills(engine: Engine, name: str) -> list[JsonObject]:
    """Return the attributes of the signals a container was sent by the engine."""
    now = SYSTEM_CLOCK.time_ns() / 1e9
    done = engine.docker(
        "events", "--since", "10m", "--until", f"{now:.9f}", "--filter", f"container={name}",
        "--filter", "event=kill", "--format", "{{json .Actor.Attributes}}",
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def run(engine: Engine, name: str, *words: str) -> None:
    engine.docker("run", "-d", "--name", name, *words)


def test_a_signal_that_is_discarded(shared_engine: Engine) -> None:
    run(shared_engine, "deaf", "busybox", "sleep", "600")
    shared_engine.docker(*_LONG, "deaf")
    found = state(shared_engine, "deaf")
    assert (found["Status"], found["ExitCode"], found["OOMKilled"]) == ("exited", 137, False)
    asked, forced = kills(shared_engine, "deaf")
    assert asked["signal"] == "15"
    assert forced["signal"] == "9"
    assert forced["reason"] == (
        "signal 15 was discarded by the kernel: process 1 has no handler for it; "
        "label kedge.fast-stop=false waits"
    )
    # The same for a restart and for another stop signal.
    shared_engine.docker("start", "deaf")
    shared_engine.docker("restart", "-t", "3600", "deaf")
    shared_engine.docker("rm", "-f", "deaf")
    run(shared_engine, "quits", "--stop-signal", "QUIT", "busybox", "sleep", "600")
    shared_engine.docker(*_LONG, "quits")
    assert "signal 3 was discarded" in str(kills(shared_engine, "quits")[1]["reason"])
    shared_engine.docker("rm", "quits")


def test_who_hears_it_may_take_its_time(shared_engine: Engine) -> None:
    script = "trap 'sleep 1; exit 7' TERM; echo up; while :; do sleep 0.05; done"
    run(shared_engine, "hears", "busybox", "sh", "-c", script)
    until(lambda: shared_engine.docker("logs", "hears").stdout, "it runs")
    shared_engine.docker(*_LONG, "hears")
    assert state(shared_engine, "hears")["ExitCode"] == 7
    assert len(kills(shared_engine, "hears")) == 1
    run(shared_engine, "tini", "--init", "busybox", "sleep", "600")
    shared_engine.docker(*_LONG, "tini")
    assert state(shared_engine, "tini")["ExitCode"] == 143
    run(shared_engine, "host", "--pid", "host", "busybox", "sleep", "600")
    shared_engine.docker(*_LONG, "host")
    assert state(shared_engine, "host")["ExitCode"] == 143
    shared_engine.docker("rm", "hears", "tini", "host")


def test_who_waits_for_the_signal_without_a_handler_gets_it(shared_engine: Engine) -> None:
    # As POSIX wants it, blocked first: while it waits, no mask shows that any more.
    program = (
        "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); print(flush=True); "
        "signal.sigwait([15]); time.sleep(1); exit(9)"
    )
    folders = dict.fromkeys((sys.base_prefix, "/usr", "/lib", "/lib64"))
    binds = [word for folder in folders for word in ("-v", f"{folder}:{folder}:ro")]
    python = f"{sys.base_prefix}/bin/python3"
    run(shared_engine, "waits", *binds, "busybox", python, "-c", program)
    until(lambda: shared_engine.docker("logs", "waits").stdout, "it waits")
    shared_engine.docker(*_LONG, "waits")
    assert state(shared_engine, "waits")["ExitCode"] == 9
    shared_engine.docker("rm", "waits")


def test_the_label_switches_it_off(shared_engine: Engine) -> None:
    run(shared_engine, "slow", "--label", "kedge.fast-stop=false", "busybox", "sleep", "600")
    shared_engine.docker("stop", "-t", "1", "slow")
    assert state(shared_engine, "slow")["ExitCode"] == 137
    assert kills(shared_engine, "slow")[1]["reason"] == "still running 1 s after signal 15"
    shared_engine.docker("rm", "slow")


def test_the_engines_flag_switches_it_off_and_the_label_on(engine: Engine) -> None:
    engine.restart_with("--fast-stop=false")
    run(engine, "slow", "busybox", "sleep", "600")
    run(engine, "fast", "--label", "kedge.fast-stop=true", "busybox", "sleep", "600")
    engine.docker("stop", "-t", "1", "slow")
    assert kills(engine, "slow")[1]["reason"] == "still running 1 s after signal 15"
    engine.docker(*_LONG, "fast")
    assert state(engine, "fast")["ExitCode"] == 137
