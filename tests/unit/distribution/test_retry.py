import pytest

from kedge.distribution.failures import (
    ConnectionFailedError,
    RegistryProblem,
    RegistryRefusedError,
)
from kedge.distribution.retry import Retries
from kedge.errdefs import KedgeError, UnavailableError

LOST = ConnectionFailedError("lost", may_retry=True)
REFUSED = ConnectionFailedError("refused", may_retry=False)


def answer(status: int, retry_after_s: float | None = None) -> RegistryRefusedError:
    return RegistryRefusedError(RegistryProblem(status, "", "no", retry_after_s))


class Attempts:
    """Fails with the given errors, then succeeds."""

    def __init__(self, *errors: KedgeError) -> None:
        self.errors = list(errors)
        self.pauses: list[float] = []
        self.retries = Retries(max_attempts=4, pause=self.pauses.append, jitter=lambda: 0.5)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def run(self) -> str:
        return self.retries.run(self)


def test_what_may_pass_is_tried_again_with_growing_pauses() -> None:
    attempts = Attempts(LOST, answer(503), answer(429))
    assert attempts.run() == "done"
    assert attempts.pauses == [0.5, 1.0, 2.0]


def test_the_last_failure_is_final() -> None:
    last = answer(500)
    attempts = Attempts(LOST, LOST, LOST, last)
    with pytest.raises(RegistryRefusedError) as caught:
        attempts.run()
    assert caught.value is last
    assert len(attempts.pauses) == 3


@pytest.mark.parametrize("error", [REFUSED, answer(404), answer(401), UnavailableError("x")])
def test_what_will_not_pass_is_final_at_once(error: KedgeError) -> None:
    attempts = Attempts(error)
    with pytest.raises(type(error)):
        attempts.run()
    assert attempts.pauses == []


def test_the_server_says_when() -> None:
    attempts = Attempts(answer(429, 7.0))
    assert attempts.run() == "done"
    assert attempts.pauses == [7.0]


def test_nobody_waits_an_hour() -> None:
    attempts = Attempts(answer(429, 3600.0))
    with pytest.raises(RegistryRefusedError):
        attempts.run()
    assert attempts.pauses == []


def test_progress_begins_anew() -> None:
    attempts = Attempts()
    for _ in range(10):
        attempts.retries.failed(LOST)
        attempts.retries.progressed()
    assert attempts.pauses == [0.5] * 10


def test_pauses_are_bounded() -> None:
    pauses: list[float] = []
    retries = Retries(max_attempts=100, pause=pauses.append, jitter=lambda: 1.0)
    for _ in range(50):
        retries.failed(LOST)
    assert max(pauses) == 30.0
