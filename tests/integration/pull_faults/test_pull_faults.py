"""Pulls against a registry that breaks, lies, stalls or refuses."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.failures import PullCancelledError
from kedge.distribution.transport import Timeouts
from kedge.errdefs import (
    DataLossError,
    InvalidParameterError,
    KedgeError,
    NotFoundError,
    SystemFailureError,
    UnavailableError,
)
from kedge.lib.clock import SYSTEM_CLOCK
from tests.integration.pull_faults.conftest import (
    FakeRegistry,
    Received,
    Reply,
    Rule,
    World,
    digest_of,
    error,
    noise,
)

pytestmark = pytest.mark.integration

BIG = {"big": noise(3_000_000)}


def on(part: str, reply: Callable[[Received], Reply | None], times: int = 1 << 30) -> Rule:
    """Answer the first ``times`` requests whose path holds ``part`` differently."""
    left = [times]

    def rule(request: Received) -> Reply | None:
        if part not in request.path or not left[0]:
            return None
        left[0] -= 1
        return reply(request)

    return rule


def cut(registry: FakeRegistry, digest: str, sent: int) -> Callable[[Received], Reply]:
    """Send ``sent`` more bytes of a blob than were asked to be skipped, then hang up."""

    def reply(request: Received) -> Reply:
        whole = registry.blobs[digest]
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        return Reply(
            status=206 if start else 200,
            headers={"Content-Range": f"bytes {start}-{len(whole) - 1}/{len(whole)}"},
            body=whole[start : start + sent],
            content_length=len(whole) - start,
        )

    return reply


def ranges(registry: FakeRegistry, digest: str) -> list[str]:
    return [r.headers.get("range", "") for r in registry.received if digest in r.path]


def test_a_broken_download_goes_on_where_it_stopped(registry: FakeRegistry, world: World) -> None:
    layer = registry.push("app", "1", BIG).layers[0]
    registry.rules.append(on(layer, cut(registry, layer, 1_000_000), times=2))
    result = world.pull(f"{registry.host}/app:1")
    assert world.file(result, "big") == BIG["big"]
    assert ranges(registry, layer) == ["", "bytes=1000000-", "bytes=2000000-"]


def test_a_server_that_cannot_resume_begins_again(registry: FakeRegistry, world: World) -> None:
    layer = registry.push("app", "1", BIG).layers[0]
    registry.rules.append(on(layer, cut(registry, layer, 1_000_000), times=1))
    registry.rules.append(on(layer, lambda _: Reply(body=registry.blobs[layer])))
    result = world.pull(f"{registry.host}/app:1")
    assert world.file(result, "big") == BIG["big"]


def test_a_server_that_resumes_elsewhere_is_asked_for_all(
    registry: FakeRegistry, world: World
) -> None:
    layer = registry.push("app", "1", BIG).layers[0]
    whole = registry.blobs[layer]

    def elsewhere(request: Received) -> Reply | None:
        if "range" not in request.headers:
            return None
        headers = {"Content-Range": f"bytes 5-{len(whole) - 1}/{len(whole)}"}
        return Reply(status=206, body=whole[5:], headers=headers)

    registry.rules.append(on(layer, cut(registry, layer, 1_000_000), times=1))
    registry.rules.append(on(layer, elsewhere))
    assert world.file(world.pull(f"{registry.host}/app:1"), "big") == BIG["big"]


def test_a_range_that_is_refused_begins_again(registry: FakeRegistry, world: World) -> None:
    layer = registry.push("app", "1", BIG).layers[0]
    registry.rules.append(on(layer, cut(registry, layer, 1_000_000), times=1))
    registry.rules.append(on(layer, lambda r: Reply(status=416) if "range" in r.headers else None))
    assert world.file(world.pull(f"{registry.host}/app:1"), "big") == BIG["big"]


def test_a_layer_that_always_breaks_off(registry: FakeRegistry, world: World) -> None:
    layer = registry.push("app", "1", {"a": noise(5000)}).layers[0]
    registry.rules.append(on(layer, cut(registry, layer, 0)))
    with pytest.raises(UnavailableError, match=f"lost the connection to registry {registry.host}"):
        world.pull(f"{registry.host}/app:1")
    assert len(ranges(registry, layer)) == 3
    world.assert_nothing_recorded()


def test_a_body_that_ends_early_without_saying_so(registry: FakeRegistry, world: World) -> None:
    layer = registry.push("app", "1", {"a": noise(5000)}).layers[0]
    short = registry.blobs[layer][:100]
    registry.rules.append(
        on(layer, lambda r: Reply(status=416) if "range" in r.headers else Reply(body=short))
    )
    with pytest.raises(UnavailableError) as caught:
        world.pull(f"{registry.host}/app:1")
    size = len(registry.blobs[layer])
    assert f"sent only 100 of {size} bytes of {layer}" in str(caught.value)


def test_a_body_that_never_ends(registry: FakeRegistry, world: World) -> None:
    layer = registry.push("app", "1", {"a": noise(5000)}).layers[0]
    registry.rules.append(on(layer, lambda _: Reply(body=registry.blobs[layer] * 3)))
    with pytest.raises(DataLossError, match="is longer than the"):
        world.pull(f"{registry.host}/app:1")
    assert world.partial_files() == []
    world.assert_nothing_recorded()


def test_wrong_bytes_are_refused(registry: FakeRegistry, world: World) -> None:
    layer = registry.push("app", "1", {"a": noise(5000)}).layers[0]
    wrong = bytes(len(registry.blobs[layer]))
    registry.rules.append(on(layer, lambda _: Reply(body=wrong)))
    with pytest.raises(DataLossError) as caught:
        world.pull(f"{registry.host}/app:1")
    assert str(caught.value) == f"filesystem layer verification failed for digest {layer}"
    assert world.partial_files() == []
    world.assert_nothing_recorded()


def test_a_layer_other_than_the_config_says(registry: FakeRegistry, world: World) -> None:
    wrong = digest_of(b"something else")
    registry.push(
        "app", "1", {"a": b"a"}, config_changes={"rootfs": {"type": "layers", "diff_ids": [wrong]}}
    )
    with pytest.raises(DataLossError, match=f"layer {wrong} does not match its diff_id"):
        world.pull(f"{registry.host}/app:1")
    world.assert_nothing_recorded()


def test_a_truncated_archive(registry: FakeRegistry, world: World) -> None:
    registry.push("app", "1", {"a": noise(50_000)}, compress=lambda data: data[:20_000])
    with pytest.raises(KedgeError, match="failed to register layer"):
        world.pull(f"{registry.host}/app:1")
    world.assert_nothing_recorded()


def test_an_archive_that_leaves_its_layer(
    registry: FakeRegistry, world: World, tmp_path: Path
) -> None:
    registry.push("app", "1", {"../../../../escaped": b"evil"})
    try:
        result = world.pull(f"{registry.host}/app:1")
    except (InvalidParameterError, DataLossError):
        world.assert_nothing_recorded()
    else:
        assert world.file(result, "escaped") == b"evil"
    assert not list(tmp_path.glob("escaped")) + list(world.root.glob("escaped"))
    assert not list((world.root / "snapshots").glob("escaped"))


def test_more_layers_than_diff_ids(registry: FakeRegistry, world: World) -> None:
    registry.push(
        "app", "1", {"a": b"a"}, config_changes={"rootfs": {"type": "layers", "diff_ids": []}}
    )
    with pytest.raises(DataLossError, match="layers from manifest don't match image configuration"):
        world.pull(f"{registry.host}/app:1")


def test_a_manifest_other_than_its_digest(registry: FakeRegistry, world: World) -> None:
    pushed = registry.push("app", "1", {"a": b"a"})
    evil = registry.push("evil", "1", {"a": b"evil"})
    registry.manifests[f"app/{pushed.manifest}"] = registry.manifests[f"evil/{evil.manifest}"]
    with pytest.raises(DataLossError) as caught:
        world.pull(f"{registry.host}/app@{pushed.manifest}")
    assert str(caught.value) == f"manifest verification failed for digest {pushed.manifest}"
    world.assert_nothing_recorded()


def test_a_config_other_than_its_digest(registry: FakeRegistry, world: World) -> None:
    pushed = registry.push("app", "1", {"a": b"a"})
    registry.blobs[pushed.config] = b"{}"
    with pytest.raises(DataLossError, match=f"the bytes of blob {pushed.config}"):
        world.pull(f"{registry.host}/app:1")


def test_a_manifest_too_large(registry: FakeRegistry, world: World) -> None:
    registry.put_manifest("app", "1", "application/json", b"[" + b" " * (5 << 20))
    with pytest.raises(UnavailableError, match="document of more than 4194304 bytes"):
        world.pull(f"{registry.host}/app:1")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_passes_is_tried_again(registry: FakeRegistry, world: World, status: int) -> None:
    layer = registry.push("app", "1", {"a": b"a"}).layers[0]
    busy = Reply(status=status, headers={"Retry-After": "0"})
    registry.rules.append(on("/manifests/", lambda _: busy, times=2))
    registry.rules.append(on(layer, lambda _: busy, times=2))
    assert world.pull(f"{registry.host}/app:1").was_new
    assert len(registry.paths(layer)) == 3


def test_a_rate_limit_is_told(registry: FakeRegistry, world: World) -> None:
    limit = error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit")
    limit.headers["Retry-After"] = "21600"
    registry.rules.append(on("/manifests/", lambda _: limit))
    with pytest.raises(UnavailableError) as caught:
        world.pull(f"{registry.host}/app:1")
    assert str(caught.value) == (
        f"cannot pull {registry.host}/app:1 from {registry.host}:"
        " toomanyrequests: You have reached your pull rate limit"
    )
    assert len(registry.paths()) == 1


def test_what_is_not_there(registry: FakeRegistry, world: World) -> None:
    name = f"{registry.host}/app:9"
    with pytest.raises(NotFoundError) as caught:
        world.pull(name)
    assert str(caught.value) == f"manifest for {name} not found: manifest unknown: manifest unknown"
    registry.rules.append(on("", lambda _: error(404, "NAME_UNKNOWN", "no such name")))
    with pytest.raises(NotFoundError, match=r"repository .*/app not found: name unknown"):
        world.pull(name)


def test_a_blob_that_is_not_there(registry: FakeRegistry, world: World) -> None:
    layer = registry.push("app", "1", {"a": b"a"}).layers[0]
    del registry.blobs[layer]
    with pytest.raises(UnavailableError, match="blob unknown: blob unknown to registry"):
        world.pull(f"{registry.host}/app:1")
    world.assert_nothing_recorded()


def test_nobody_listens(world: World) -> None:
    with pytest.raises(UnavailableError) as caught:
        world.pull("127.0.0.1:1/app:1")
    assert str(caught.value) == "cannot reach registry 127.0.0.1:1: connection refused"


def test_a_server_that_says_nothing(registry: FakeRegistry, world: World) -> None:
    world.open(RegistrySettings(max_attempts=1), Timeouts(connect_s=5, read_s=0.2))
    layer = registry.push("app", "1", BIG).layers[0]
    stall = threading.Event()
    registry.rules.append(on(layer, lambda _: Reply(body=registry.blobs[layer], stall=stall)))
    with pytest.raises(UnavailableError, match=r"lost the connection .*: timed out"):
        world.pull(f"{registry.host}/app:1")
    stall.set()


class TricklingServer:
    """Sends a body byte by byte, and lets a minute pass on its clock for each."""

    def __init__(self) -> None:
        self.now = 0.0
        self.starts: list[int] = []

    def time_ns(self) -> int:
        return SYSTEM_CLOCK.time_ns()

    def monotonic(self) -> float:
        return self.now

    def trickle(self, data: bytes) -> Iterator[bytes]:
        for position in range(len(data)):
            self.now += 60
            yield data[position : position + 1]


def test_a_server_that_trickles_is_given_up_and_gone_on_with(
    registry: FakeRegistry, world: World
) -> None:
    layer = registry.push("app", "1", {"a": noise(2000)}).layers[0]
    slow = TricklingServer()
    world.open(RegistrySettings(max_attempts=2), Timeouts(30, 30), slow)
    body = registry.blobs[layer]
    trickling = Reply(body=body, trickle=slow.trickle)
    registry.rules.append(on(layer, lambda _: trickling, times=1))
    assert world.file(world.pull(f"{registry.host}/app:1"), "a") == noise(2000)
    assert len(ranges(registry, layer)) == 2


def test_a_server_that_always_trickles_is_named(registry: FakeRegistry, world: World) -> None:
    layer = registry.push("app", "1", {"a": noise(2000)}).layers[0]
    slow = TricklingServer()
    world.open(RegistrySettings(max_attempts=2), Timeouts(30, 30), slow)
    registry.rules.append(
        on(layer, lambda _: Reply(body=registry.blobs[layer], trickle=slow.trickle))
    )
    with pytest.raises(UnavailableError) as caught:
        world.pull(f"{registry.host}/app:1")
    assert str(caught.value) == (
        f"registry {registry.host} is too slow: less than 61440 bytes in 60 s"
    )
    assert len(ranges(registry, layer)) == 2


@pytest.fixture
def stalled(registry: FakeRegistry) -> Iterator[str]:
    """Push an image whose layer stops half way; give its digest."""
    layer = registry.push("app", "1", BIG).layers[0]
    stall = threading.Event()
    registry.rules.append(
        on(layer, lambda _: Reply(body=registry.blobs[layer], stall=stall), times=1)
    )
    yield layer
    stall.set()


def cancelled_pull(registry: FakeRegistry, world: World) -> None:
    """Pull, cancel once half of the layer is there, and check that it ends."""
    cancel = threading.Event()
    raised: list[BaseException] = []

    def pull() -> None:
        try:
            world.pull(f"{registry.host}/app:1", cancel=cancel)
        except PullCancelledError as failure:
            raised.append(failure)

    thread = threading.Thread(target=pull)
    thread.start()
    while not any(world.partial_size(partial) > 1_000_000 for partial in world.partial_files()):
        cancel.wait(0.01)
    cancel.set()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert [str(failure) for failure in raised] == ["pull cancelled"]


def test_a_cancelled_pull_ends(registry: FakeRegistry, world: World, stalled: str) -> None:
    cancelled_pull(registry, world)
    assert world.images.list_images() == []
    assert world.file(world.pull(f"{registry.host}/app:1"), "big") == BIG["big"]
    assert ranges(registry, stalled)[1].startswith("bytes=1")


def test_a_download_goes_on_after_a_restart(
    registry: FakeRegistry, world: World, stalled: str
) -> None:
    cancelled_pull(registry, world)
    world.open(RegistrySettings())
    assert world.file(world.pull(f"{registry.host}/app:1"), "big") == BIG["big"]
    assert ranges(registry, stalled)[1].startswith("bytes=1")
    assert world.partial_files() == []


def test_what_a_power_cut_left_may_be_wrong(
    registry: FakeRegistry, world: World, stalled: str
) -> None:
    cancelled_pull(registry, world)
    world.close()
    (partial,) = world.partial_files()
    size = partial.stat().st_size
    partial.write_bytes(bytes(size))
    world.open(RegistrySettings())
    assert world.file(world.pull(f"{registry.host}/app:1"), "big") == BIG["big"]
    assert ranges(registry, stalled)[1:] == [f"bytes={size}-", ""]


def test_one_cancelled_pull_does_not_end_the_other(
    registry: FakeRegistry, world: World, tmp_path: Path
) -> None:
    layer = registry.push("app", "1", BIG).layers[0]
    stall = threading.Event()
    registry.rules.append(on(layer, lambda _: Reply(body=registry.blobs[layer], stall=stall)))
    found: list[bytes] = []

    def other() -> None:
        found.append(world.file(world.pull(f"{registry.host}/app:1"), "big"))

    thread = threading.Thread(target=other)
    thread.start()
    while not world.events or world.events[-1].status != "Downloading":
        stall.wait(0.01)
    cancelled_pull(registry, world)
    stall.set()
    thread.join()
    assert found == [BIG["big"]]
    assert len(ranges(registry, layer)) == 1
    assert tmp_path.exists()


def test_another_pulls_failure_is_not_ours(registry: FakeRegistry, world: World) -> None:
    pushed = registry.push("public", "1", BIG)
    registry.push("private", "1", BIG)
    layer = pushed.layers[0]
    stall = threading.Event()

    def refuse(request: Received) -> Reply | None:
        if not request.path.startswith("/v2/private/blobs/") or layer not in request.path:
            return None
        assert stall.wait(60)
        return error(403, "DENIED", "not for you")

    registry.rules.append(refuse)
    failures: list[str] = []

    def private() -> None:
        try:
            world.pull(f"{registry.host}/private:1")
        except KedgeError as failure:
            failures.append(str(failure))

    first = threading.Thread(target=private)
    first.start()
    while not any(layer in request.path for request in registry.received):
        stall.wait(0.01)
    found: list[bytes] = []

    def public() -> None:
        found.append(world.file(world.pull(f"{registry.host}/public:1"), "big"))

    second = threading.Thread(target=public)
    second.start()
    while sum(e.status == "Pulling fs layer" for e in world.events) < 2:
        stall.wait(0.01)
    stall.set()
    first.join()
    second.join()
    assert found == [BIG["big"]]
    assert len(failures) == 1
    assert "denied: not for you" in failures[0]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mount_point = tmp_path / "tiny"
    mount_point.mkdir()
    options = ["-t", "tmpfs", "-o", "size=2m", "kedge-test", str(mount_point)]
    subprocess.run(["mount", *options], check=True)
    yield mount_point
    subprocess.run(["umount", str(mount_point)], check=True)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    registry: FakeRegistry, tiny_disk: Path
) -> None:
    registry.push("app", "1", BIG)
    world = World(tiny_disk / "engine")
    try:
        with pytest.raises(SystemFailureError) as caught:
            world.pull(f"{registry.host}/app:1")
        assert "no space left on device" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert world.partial_files() == []
        world.assert_nothing_recorded()
    finally:
        world.close()


def test_a_disk_that_fills_up_while_unpacking(registry: FakeRegistry, tiny_disk: Path) -> None:
    registry.push("app", "1", {"zeros": bytes(8_000_000)})
    world = World(tiny_disk / "engine")
    try:
        with pytest.raises(SystemFailureError, match="no space left on device"):
            world.pull(f"{registry.host}/app:1")
        world.assert_nothing_recorded()
    finally:
        world.close()
