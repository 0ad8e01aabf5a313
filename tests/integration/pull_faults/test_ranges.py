"""Large layers over several connections: in order, verified, resumed, and given up cleanly."""

import threading

import pytest

from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.failures import PullCancelledError
from kedge.errdefs import KedgeError
from tests.integration.pull_faults.conftest import (
    FakeRegistry,
    Pushed,
    Received,
    Reply,
    World,
    noise,
)

pytestmark = pytest.mark.integration

SEGMENT = 64 << 10
DATA = noise(1 << 20)


@pytest.fixture
def pushed(registry: FakeRegistry, world: World) -> Pushed:
    world.open(RegistrySettings(max_attempts=3, range_bytes=SEGMENT))
    return registry.push("app", "1", {"a": DATA})


def ranges(registry: FakeRegistry) -> list[str]:
    return [r.headers["range"] for r in registry.received if "range" in r.headers]


def test_in_parts(registry: FakeRegistry, world: World, pushed: Pushed) -> None:
    result = world.pull(f"{registry.host}/app:1")
    assert world.file(result, "a") == DATA
    size = len(registry.blobs[pushed.layers[0]])
    asked = sorted(int(r.removeprefix("bytes=").partition("-")[0]) for r in ranges(registry))
    assert asked == [*range(0, size, SEGMENT)]


def test_a_server_without_ranges(registry: FakeRegistry, world: World, pushed: Pushed) -> None:
    blob = pushed.layers[0]
    registry.rules.append(
        lambda r: Reply(body=registry.blobs[blob]) if r.path.endswith(blob) else None
    )
    assert world.file(world.pull(f"{registry.host}/app:1"), "a") == DATA


def test_a_part_that_breaks_off_is_asked_for_again(
    registry: FakeRegistry, world: World, pushed: Pushed
) -> None:
    cut: list[str] = []

    def break_off(request: Received) -> Reply | None:
        wanted = request.headers.get("range", "")
        if not wanted.startswith(f"bytes={5 * SEGMENT}-") or cut:
            return None
        cut.append(wanted)
        part = registry.blobs[pushed.layers[0]][5 * SEGMENT : 6 * SEGMENT]
        last = 6 * SEGMENT - 1
        return Reply(
            status=206,
            body=part[:1000],
            content_length=len(part),
            headers={"Content-Range": f"bytes {5 * SEGMENT}-{last}/{len(DATA)}"},
        )

    registry.rules.append(break_off)
    assert world.file(world.pull(f"{registry.host}/app:1"), "a") == DATA
    assert cut
    assert len([r for r in ranges(registry) if r.startswith("bytes=0-")]) == 1


def test_a_part_of_something_else_is_found_out(
    registry: FakeRegistry, world: World, pushed: Pushed
) -> None:
    blob = pushed.layers[0]

    def corrupt(request: Received) -> Reply | None:
        wanted = request.headers.get("range", "")
        if not wanted.startswith(f"bytes={3 * SEGMENT}-"):
            return None
        last = 4 * SEGMENT - 1
        return Reply(
            status=206,
            body=b"x" * SEGMENT,
            headers={"Content-Range": f"bytes {3 * SEGMENT}-{last}/{len(DATA)}"},
        )

    registry.rules.append(corrupt)
    with pytest.raises(KedgeError, match=f"verification failed for digest {blob}"):
        world.pull(f"{registry.host}/app:1")
    world.assert_nothing_recorded()


def test_cancel(registry: FakeRegistry, world: World, pushed: Pushed) -> None:
    cancel, go_on = threading.Event(), threading.Event()

    def stall(request: Received) -> Reply | None:
        wanted = request.headers.get("range", "")
        if not wanted.startswith(f"bytes={6 * SEGMENT}-"):
            return None
        cancel.set()
        part = registry.blobs[pushed.layers[0]][6 * SEGMENT : 7 * SEGMENT]
        last = 7 * SEGMENT - 1
        return Reply(
            status=206,
            body=part,
            stall=go_on,
            headers={"Content-Range": f"bytes {6 * SEGMENT}-{last}/{len(DATA)}"},
        )

    registry.rules.append(stall)
    with pytest.raises(PullCancelledError):
        world.pull(f"{registry.host}/app:1", cancel=cancel)
    go_on.set()
    world.assert_nothing_recorded()
