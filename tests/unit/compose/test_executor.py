"""Steps run along their needs, and what happens when one fails."""

import threading

import pytest

from kedge.compose.executor import Cancel, CancelledStepError, execute
from kedge.compose.steps import KeepContainer, Step, WaitFor
from kedge.errdefs import ConflictError


def _step(key: str, *needs: str) -> Step:
    return KeepContainer(key, needs, key, "Running")


def test_every_step_comes_after_what_it_needs() -> None:
    done: list[str] = []
    lock = threading.Lock()

    def perform(step: Step, _cancel: Cancel) -> None:
        with lock:
            assert set(step.needs) - {"elsewhere"} <= set(done)
            done.append(step.key)

    steps = [_step("a"), _step("b", "a"), _step("c", "a"), _step("d", "b", "c", "elsewhere")]
    execute(steps, perform)
    assert sorted(done) == ["a", "b", "c", "d"]


def test_independent_steps_run_at_once() -> None:
    together = threading.Barrier(3, timeout=10)
    execute([_step("a"), _step("b"), _step("c")], lambda _step, _cancel: _met(together))


def _met(barrier: threading.Barrier) -> None:
    barrier.wait()


def test_a_limit_holds_for_work_but_not_for_waiting() -> None:
    running = 0
    most = 0
    lock = threading.Lock()
    worked = threading.Event()

    def perform(step: Step, _cancel: Cancel) -> None:
        nonlocal running, most
        if isinstance(step, WaitFor):
            assert worked.wait(10)
            return
        with lock:
            running += 1
            most = max(most, running)
        worked.set()
        with lock:
            running -= 1

    waits: list[Step] = [WaitFor(f"w{n}", (), "s", "service_healthy") for n in range(3)]
    execute([*waits, *(_step(f"s{n}") for n in range(6))], perform, parallel=1)
    assert most == 1


def test_the_first_failure_ends_everything_and_is_told() -> None:
    done: list[str] = []
    began = threading.Event()

    def perform(step: Step, cancel: Cancel) -> None:
        if step.key == "bad":
            assert began.wait(10)
            raise ConflictError("no")
        began.set()
        while not cancel.is_set():
            began.wait(0.001)
        done.append(step.key)
        raise CancelledStepError("gave up")

    with pytest.raises(ConflictError, match="no"):
        execute([_step("bad"), _step("waits"), _step("late", "bad")], perform)
    assert done == ["waits"]


def test_another_thread_can_give_up_the_rest() -> None:
    cancel = Cancel()
    done: list[str] = []

    def perform(step: Step, _cancel: Cancel) -> None:
        done.append(step.key)
        cancel.set()

    with pytest.raises(CancelledStepError):
        execute([_step("a"), _step("b", "a")], perform, cancel=cancel)
    assert done == ["a"]


def test_steps_that_need_each_other_are_a_defect() -> None:
    with pytest.raises(AssertionError, match="need each other"):
        execute([_step("a", "b"), _step("b", "a")], lambda _step, _cancel: None)
