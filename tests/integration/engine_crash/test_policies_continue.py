"""Restart policies when the engine was killed, and when it was stopped with its containers."""

import pytest

from tests.engine import Engine
from tests.integration.engine_crash.truth import assert_true, state, status, until

pytestmark = pytest.mark.integration

_OBEYS = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


def count(engine: Engine, name: str) -> object:
    return engine.get(f"/containers/{name}/json")["RestartCount"]


def run(engine: Engine, name: str, policy: str, script: str) -> None:
    engine.docker("run", "-d", "--name", name, "--restart", policy, "busybox", "sh", "-c", script)


def test_who_comes_back_with_the_engine(engine: Engine) -> None:
    for policy in ("always", "unless-stopped", "on-failure", "no"):
        run(engine, f"{policy}-up", policy, _OBEYS)
        run(engine, f"{policy}-down", policy, _OBEYS)
        engine.docker("stop", "-t0", f"{policy}-down")
    run(engine, "waiting", "always", "exit 3")
    until(lambda: count(engine, "waiting") == 3, "it was restarted")
    pid = state(engine, "no-up")["Pid"]
    engine.kill()
    engine.start()
    wanted = {
        "always-up": "running", "always-down": "running",
        "unless-stopped-up": "running", "unless-stopped-down": "exited",
        "on-failure-up": "running", "on-failure-down": "exited",
        "no-up": "running", "no-down": "exited",
    }  # fmt: skip
    until(lambda: {key: status(engine, key) for key in wanted} == wanted, "as the policies say")
    assert state(engine, "no-up")["Pid"] == pid
    until(lambda: count(engine, "waiting") == 4, "the count went on")
    # A clean end stops them all here; only those who come back by policy run afterwards.
    assert engine.terminate() == 0
    engine.start()
    wanted |= {"on-failure-up": "exited", "no-up": "exited"}
    until(lambda: {key: status(engine, key) for key in wanted} == wanted, "as the policies say")
    engine.docker("rm", "-f", "waiting", *wanted)
    assert_true(engine)
