"""Containers that see an engine come and go, and what must hold of them after each return."""

import itertools

from tests.engine import Engine
from tests.integration.engine_crash.truth import container_id, state, until

_TALKS = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done"
# The number of the run is kept where no engine has a hand in it.
_FAILS = "echo >> /runs; n=$(wc -l < /runs); echo run $n; sleep 0.05; exit 3"


class Witnesses:
    """One that runs on, one that fails and is restarted, one with a health check, some that end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._codes = itertools.count(11)
        self._ending: dict[str, int] = {}
        self._run("talks", _TALKS)
        self._run("fails", _FAILS, "--restart", "always")
        self._run(
            "well", "sleep 6000", "--health-cmd", "true", "--health-interval", "100ms",
            "--health-retries", "1",
        )  # fmt: skip
        until(lambda: self._health()["Status"] == "healthy", "it is well")
        self._ids = {name: container_id(engine, name) for name in ("talks", "fails", "well")}
        self._pids = {name: state(engine, name)["Pid"] for name in ("talks", "well")}
        self._restarts = self._lines = 0

    def _run(self, name: str, script: str, *flags: str) -> None:
        self._engine.docker("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", script)

    @property
    def ids(self) -> set[str]:
        return set(self._ids.values())

    def begin_round(self) -> None:
        """Start one that ends by itself, at about the time when the engine is killed."""
        code = next(self._codes)
        name = f"ends{code}"
        self._run(name, f"sleep 0.{code}; echo {code}; exit {code}")
        self._ending[name] = code

    def check(self) -> None:
        """Assert what must hold whenever there is an engine."""
        self._check_those_that_ran_on()
        before = str(self._health()["Log"])
        until(lambda: str(self._health()["Log"]) != before, "it is asked again")
        assert self._health()["Status"] == "healthy"
        restarts = int(str(self._engine.get("/containers/fails/json")["RestartCount"]))
        assert restarts >= self._restarts
        self._restarts = restarts
        for name, code in self._ending.items():
            assert self._engine.docker("wait", name).stdout == f"{code}\n"
            assert self._engine.docker("logs", name).stdout == f"{code}\n"
            self._engine.docker("rm", name)
        self._ending.clear()

    def _check_those_that_ran_on(self) -> None:
        for name, key in self._ids.items():
            assert container_id(self._engine, name) == key
        for name, pid in self._pids.items():
            assert (state(self._engine, name)["Status"], state(self._engine, name)["Pid"]) == (
                "running",
                pid,
            )
        lines = self._engine.docker("logs", "talks").stdout.splitlines()
        assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
        assert len(lines) > self._lines
        self._lines = len(lines)

    def check_runs(self) -> None:
        """Assert that each run of the one that fails was counted, and is in its log, once."""
        self._engine.docker("stop", "-t", "0", "fails")
        restarts = int(str(self._engine.get("/containers/fails/json")["RestartCount"]))
        lines = self._engine.docker("logs", "fails").stdout.splitlines()
        assert lines == [f"run {number}" for number in range(1, len(lines) + 1)]
        # What waits for its next run has been counted already.
        assert len(lines) in {restarts, restarts + 1}
        assert restarts >= 3

    def _health(self) -> dict[str, object]:
        found = state(self._engine, "well")["Health"]
        assert isinstance(found, dict)
        return dict(found)
