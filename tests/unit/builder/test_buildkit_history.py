"""References to results, and the history of builds."""

import asyncio

import pytest

from kedge.builder.buildkit.history import History, Steps
from kedge.builder.buildkit.messages import DEFINITION
from kedge.builder.buildkit.references import find_reference, make_definition
from kedge.builder.buildkit.wire import Record, decode, encode, part, text
from kedge.errdefs import ConflictError, NotFoundError, NotSupportedError


def test_a_reference_survives_the_way_to_a_client_and_back() -> None:
    definition = decode(DEFINITION, encode(DEFINITION, make_definition("abc123")))
    assert find_reference(definition) == "abc123"
    assert find_reference({}) == ""


def test_the_last_operation_leads_to_the_first() -> None:
    definition = make_definition("abc123")
    operations, metadata = definition["def"], definition["metadata"]
    assert isinstance(operations, list)
    assert isinstance(metadata, dict)
    assert len(operations) == len(metadata) == 2
    # A client may leave the last one out, or make it anew.
    assert find_reference({"def": operations[:1]}) == "abc123"


@pytest.mark.parametrize("operation", [b"\x1a\x04\x0a\x02xy", b"\xff\xff", b""])
def test_another_definition_is_refused(operation: bytes) -> None:
    with pytest.raises(NotSupportedError, match="no Dockerfile"):
        find_reference({"def": [operation]})


async def _listed(history: History, *, ref: str = "", limit: int = 0) -> list[tuple[int, str]]:
    events: list[Record] = [
        event
        async for event in history.listen(ref=ref, active_only=False, early_exit=True, limit=limit)
    ]
    return [(int(str(event["type"])), text(part(event, "record"), "Ref")) for event in events]


def _started(history: History, *names: str) -> None:
    for name in names:
        history.started(name, frontend="", attrs={}, exporters=[])


def test_builds_are_told_as_running_then_as_complete() -> None:
    async def scenario() -> None:
        history = History(lambda _: None)
        _started(history, "a", "b")
        history.described("a", "dockerfile.v0", {"target": "x"})
        history.completed("a", Steps(1, 2, 2, 0), response={"k": "v"})
        assert await _listed(history) == [(1, "a"), (0, "b")]
        assert await _listed(history, ref="b") == [(0, "b")]
        assert await _listed(history, limit=1) == [(0, "b")]
        assert await _listed(history, ref="none") == []

    asyncio.run(scenario())


def test_a_listener_hears_what_happens_later() -> None:
    async def scenario() -> None:
        history = History(lambda _: None)
        events = history.listen(ref="", active_only=False, early_exit=False, limit=0)
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        _started(history, "late")
        event = await first
        assert text(part(event, "record"), "Ref") == "late"
        await events.aclose()

    asyncio.run(scenario())


def test_only_builds_that_ended_are_removed() -> None:
    async def scenario() -> None:
        forgotten: list[str] = []
        history = History(forgotten.append)
        _started(history, "a")
        with pytest.raises(ConflictError, match="build a still runs"):
            history.update("a", pinned=False, delete=True, finalize=False)
        history.completed("a", Steps(), response={}, error={"code": 2, "message": "no"})
        history.update("a", pinned=False, delete=True, finalize=False)
        assert forgotten == ["a"]
        with pytest.raises(NotFoundError, match="no such build in the history: a"):
            history.update("a", pinned=False, delete=True, finalize=False)

    asyncio.run(scenario())


def test_the_oldest_builds_are_forgotten_but_not_pinned_ones() -> None:
    async def scenario() -> None:
        forgotten: list[str] = []
        history = History(forgotten.append)
        for number in range(103):
            _started(history, str(number))
            history.completed(str(number), Steps(), response={})
            if number == 0:
                history.update("0", pinned=True, delete=False, finalize=False)
        assert forgotten == ["1", "2", "3"]
        assert history.keeps("0")

    asyncio.run(scenario())
