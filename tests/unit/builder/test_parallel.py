"""Stages at once: order of what runs, order of what is told, and one doing it for all."""

import threading

import pytest

from kedge.builder.events import Event, InStage, Notice, ShellReady, StageFailed, StepStarted
from kedge.builder.parallel import Once, Turns, run_stages
from kedge.errdefs import InvalidParameterError, NotFoundError

_LONG_S = 60


def nothing() -> None:
    """Neither cancels nor stops anything."""


def step(text: str) -> StepStarted:
    return StepStarted(number=0, total=0, text=text)


def test_independent_stages_meet_and_the_needed_come_first() -> None:
    meeting = threading.Barrier(2, timeout=_LONG_S)
    built: list[int] = []

    def build(index: int) -> None:
        if index < 2:
            meeting.wait()
        built.append(index)

    run_stages([0, 1, 2, 3], {0: [], 1: [], 2: [0, 1], 3: [2]}, build, nothing)
    assert sorted(built[:2]) == [0, 1]
    assert built[2:] == [2, 3]


def test_a_failure_stops_the_rest_and_is_what_is_raised() -> None:
    stopped = threading.Event()
    built: list[int] = []

    def build(index: int) -> None:
        built.append(index)
        if index == 0:
            raise NotFoundError("gone")
        assert stopped.wait(_LONG_S)
        raise InvalidParameterError("cancelled")

    with pytest.raises(NotFoundError, match="gone"):
        run_stages([0, 1, 2], {0: [], 1: [], 2: [0]}, build, stopped.set)
    assert sorted(built) == [0, 1]


def test_reports_come_stage_after_stage_and_numbered() -> None:
    told: list[Event] = []
    turns = Turns([0, 2, 3], 3, told.append)
    turns.report(2, step("c"))
    turns.report(0, step("a"))
    turns.finish(2)
    turns.report(3, step("d"))
    assert [event.text for event in told if isinstance(event, StepStarted)] == ["a"]
    turns.finish(0)
    turns.report(3, step("e"))
    steps = [event for event in told if isinstance(event, StepStarted)]
    assert [(each.text, each.number, each.total) for each in steps] == [
        ("a", 1, 3), ("c", 2, 3), ("d", 3, 3), ("e", 4, 4),
    ]  # fmt: skip


def test_the_stage_that_fails_is_told_of_before_its_turn() -> None:
    told: list[Event] = []
    turns = Turns([0, 1], 2, told.append)
    turns.report(1, Notice(text="why"))
    turns.fail(1)
    assert told == [Notice(text="why")]


def test_a_shell_waits_for_no_turn() -> None:
    told: list[Event] = []
    turns = Turns([0, 1], 2, told.append)
    turns.report(1, Notice(text="what led to it"))
    shell = ShellReady(token="t", reason="failed", shell="sh")
    turns.report(1, shell)
    assert told == [Notice(text="what led to it"), shell]
    turns.finish(0)
    assert len(told) == 2


def test_equal_work_is_done_by_one_at_a_time() -> None:
    once = Once()
    done: set[str] = set()
    made: list[str] = []
    start = threading.Barrier(4, timeout=_LONG_S)

    def work() -> None:
        start.wait()
        with once.hold("k", nothing):
            if "k" not in done:
                made.append("k")
                done.add("k")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["k"]


def test_who_waits_can_be_cancelled() -> None:
    once = Once()

    def cancelled() -> None:
        raise InvalidParameterError("cancelled")

    with once.hold("k", nothing), pytest.raises(InvalidParameterError), once.hold("k", cancelled):
        pytest.fail("held twice")


def test_who_shows_stages_side_by_side_is_told_at_once() -> None:
    told: list[Event] = []
    turns = Turns([0, 2], 2, told.append, at_once=True, labels={0: "base"})
    turns.report(2, step("c"))
    turns.report(0, step("a"))
    turns.fail(2)
    assert told == [
        InStage(stage=2, event=StepStarted(number=1, total=2, text="c")),
        InStage(stage=0, event=StepStarted(number=2, total=2, text="a"), label="base"),
        InStage(stage=2, event=StageFailed()),
    ]
