"""`kill -9` of the engine at moments nobody chose, while clients use it in every way at once."""

import random
import subprocess
import threading
from collections.abc import Callable
from typing import Self

import pytest

from tests.engine import Engine
from tests.integration.engine_crash.truth import assert_true, listed
from tests.integration.engine_crash.witnesses import Witnesses

pytestmark = pytest.mark.integration

_ROUNDS = 12
_LONGEST_S = 1.5


class Load:
    """Clients that run one command after the other until told to stop; what fails, fails."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine = engine
        self._stop = threading.Event()
        jobs = (self._runs, self._lives, self._builds, self._looks, self._removes)
        self._threads = [
            threading.Thread(target=self._repeat, args=(job, random.Random(f"{seed} {number}")))
            for number, job in enumerate(jobs)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, job: Callable[[random.Random], None], chance: random.Random) -> None:
        while not self._stop.is_set():
            try:
                job(chance)
            except subprocess.TimeoutExpired:
                raise AssertionError("a client hangs although its engine is gone") from None
            self._stop.wait(0.02)

    def _docker(self, *words: str) -> str:
        return self._engine.docker(*words, check=False).stdout

    def _runs(self, _chance: random.Random) -> None:
        self._docker("run", "--rm", "busybox", "echo", "hi")

    def _lives(self, chance: random.Random) -> None:
        name = f"box{chance.randrange(4)}"
        self._docker("run", "-d", "--name", name, "-p", "80", "busybox", "sleep", "600")
        verb = chance.choice(("stop -t0", "restart -t0", "kill", "pause", "unpause", "start"))
        self._docker(*verb.split(), name)

    def _builds(self, chance: random.Random) -> None:
        text = f"FROM busybox\nRUN echo {chance.random()} > /x\nRUN cat /x\n"
        self._engine.docker("build", "-q", "-", check=False, text=text)

    def _looks(self, chance: random.Random) -> None:
        for key in self._docker("ps", "-q").split():
            self._docker(*chance.choice((("exec", key, "true"), ("logs", key), ("inspect", key))))

    def _removes(self, chance: random.Random) -> None:
        self._docker("rm", "-f", f"box{chance.randrange(4)}")


def test_every_restart_finds_the_truth_and_leaves_nothing(engine: Engine) -> None:
    chance = random.Random(20240229)
    witnesses = Witnesses(engine)
    kept = witnesses.ids
    for number in range(_ROUNDS):
        witnesses.begin_round()
        with Load(engine, number):
            threading.Event().wait(chance.uniform(0.05, _LONGEST_S))
            engine.kill()
        engine.start()
        witnesses.check()
        assert_true(engine, fickle=kept)
        # Nothing is stuck: whatever there is can be removed, and its name used again.
        for name in [key for key, word in listed(engine).items() if word != "running"]:
            if name not in kept:
                engine.docker("rm", "-f", name)
    witnesses.check_runs()
    engine.docker("rm", "-f", *listed(engine))
    assert engine.docker("ps", "-aq").stdout == ""
    assert_true(engine)
    assert "problem" not in engine.log.read_text()
