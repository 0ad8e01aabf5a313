"""What a push sends, what it leaves out, and how it goes on after a failure."""

import json
import threading

import pytest

from kedge.distribution.failures import ConnectionFailedError, PushCancelledError
from kedge.errdefs import DataLossError, KedgeError, NotFoundError, UnavailableError
from kedge.oci import media_types
from kedge.oci.platforms import Platform, host_platform
from tests.integration.pull_faults.conftest import FakeRegistry, Received, Reply, error, noise
from tests.integration.push_faults.conftest import METHOD, PushWorld, WritableRegistry

pytestmark = pytest.mark.integration

OTHER = Platform("linux", "s390x")
LARGE = 3 << 20


def sent(target: WritableRegistry) -> int:
    """Return how many bytes of blobs arrived in whole requests."""
    return sum(len(r.body) for r in [*target.asked("PATCH"), *target.asked("PUT", "/blobs/")])


@pytest.mark.parametrize("docker", [False, True])
def test_same_bytes(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld, *, docker: bool
) -> None:
    pushed = source.push("app", "1", {"a": b"a"}, {"b": noise(LARGE)}, docker=docker)
    world.take(f"{source.host}/app:1", f"{target.host}/team/app:2")
    (result,) = world.push(f"{target.host}/team/app:2")
    assert result.tag == "2"
    assert result.digest == pushed.manifest
    assert target.manifests["team/app/2"] == source.manifests["app/1"]
    assert target.blobs == source.blobs
    assert {
        name.familiar() for name in world.images.resolve(f"{target.host}/team/app:2").digests
    } >= {f"{target.host}/team/app@{pushed.manifest}"}
    assert result.size == len(source.manifests["app/1"][1])


def test_progress(source: FakeRegistry, target: WritableRegistry, world: PushWorld) -> None:
    pushed = source.push("app", "1", {"a": b"a"}, {"b": noise(LARGE)})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    world.push(f"{target.host}/app:1")
    assert world.events[0].status == f"The push refers to repository [{target.host}/app]"
    first, second = pushed.diff_ids
    assert world.statuses(first)[0::2] == ["Preparing", "Pushed"]
    assert world.statuses(second) == ["Preparing", "Pushing", "Pushed"]
    size = len(source.blobs[pushed.layers[1]])
    assert max(event.current for event in world.events if event.status == "Pushing") <= size
    *_, line, last = world.events
    assert line.status.startswith(f"1: digest: {pushed.manifest} size: ")
    assert last.pushed is not None
    assert last.pushed.digest == pushed.manifest


def test_what_is_there_is_skipped(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    pushed = source.push("app", "1", {"a": noise(LARGE)})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    world.push(f"{target.host}/app:1")
    before = len(target.asked("POST"))
    world.push(f"{target.host}/app:1")
    assert len(target.asked("POST")) == before
    assert world.statuses(pushed.diff_ids[0]) == ["Preparing", "Layer already exists"]


def test_mount_from_another_repository(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    pushed = source.push("app", "1", {"a": noise(LARGE)})
    world.take(f"{source.host}/app:1", f"{target.host}/one/app:1", f"{target.host}/two/app:1")
    world.push(f"{target.host}/one/app:1")
    before = sent(target)
    world.push(f"{target.host}/two/app:1")
    assert world.statuses(pushed.diff_ids[0]) == ["Preparing", "Mounted from one/app"]
    # The config is small and not worth a question about who else has it.
    assert sent(target) - before < 1000


@pytest.mark.parametrize("refusal", [None, 403, 405])
def test_a_mount_that_fails_is_an_upload(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld, refusal: int | None
) -> None:
    def refuse(request: Received) -> Reply | None:
        if refusal and "mount=" in request.path:
            return error(refusal, "DENIED", "no")
        return None

    pushed = source.push("app", "1", {"a": noise(LARGE)})
    world.take(f"{source.host}/app:1", f"{target.host}/one/app:1", f"{target.host}/two/app:1")
    world.push(f"{target.host}/one/app:1")
    target.mounts = False
    target.rules.append(refuse)
    world.push(f"{target.host}/two/app:1")
    assert world.statuses(pushed.diff_ids[0])[-1] == "Pushed"
    assert target.repositories["two/app"] == target.repositories["one/app"]


def test_a_broken_upload_goes_on(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    pushed = source.push("app", "1", {"a": noise(LARGE)})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    target.cuts = [1 << 20, 1 << 19]
    world.push(f"{target.host}/app:1")
    assert target.blobs == source.blobs
    (last,) = target.asked("PATCH")
    size = len(source.blobs[pushed.layers[0]])
    start = (1 << 20) + (1 << 19)
    assert last.headers["content-range"] == f"{start}-{size - 1}"
    assert len(last.body) == size - start


def test_a_broken_upload_that_is_forgotten_begins_anew(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    def forget(request: Received) -> Reply | None:
        if request.headers[METHOD] == "GET" and "/uploads/" in request.path:
            return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return None

    source.push("app", "1", {"a": noise(LARGE)})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    target.cuts = [1 << 20]
    target.rules.append(forget)
    world.push(f"{target.host}/app:1")
    assert target.blobs == source.blobs


def test_too_large_at_once_is_sent_in_chunks(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    def refuse(request: Received) -> Reply | None:
        too_large = request.headers[METHOD] == "PATCH" and len(request.body) > LARGE // 2
        return Reply(status=413) if too_large else None

    source.push("app", "1", {"a": noise(LARGE)})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    target.rules.append(refuse)
    world.push(f"{target.host}/app:1")
    assert target.blobs == source.blobs
    whole, *chunks = [r.headers.get("content-range", "") for r in target.asked("PATCH")]
    assert whole == ""
    *_, before, last = chunks
    assert int(last.partition("-")[0]) == int(before.partition("-")[2]) + 1


def test_a_registry_without_patch_gets_one_put(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    def refuse(request: Received) -> Reply | None:
        if request.headers[METHOD] == "PATCH":
            return error(405, "UNSUPPORTED", "the operation is unsupported")
        return None

    source.push("app", "1", {"a": noise(LARGE)})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    target.rules.append(refuse)
    world.push(f"{target.host}/app:1")
    assert target.blobs == source.blobs


def test_passing_failures_are_retried(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    failures = [503, 500, 429]

    def fail(request: Received) -> Reply | None:
        if failures and request.headers[METHOD] in {"PUT", "HEAD", "POST"}:
            return Reply(status=failures.pop(), headers={"Retry-After": "0"})
        return None

    source.push("app", "1", {"a": b"a"})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    target.rules.append(fail)
    world.push(f"{target.host}/app:1")
    assert failures == []
    assert target.manifests["app/1"] == source.manifests["app/1"]


def test_a_registry_that_dies_has_no_manifest(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    source.push("app", "1", {"a": noise(LARGE)})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    target.cuts = [0] * 50
    with pytest.raises(ConnectionFailedError) as caught:
        world.push(f"{target.host}/app:1")
    assert target.host in str(caught.value)
    assert "\n" not in str(caught.value)
    assert target.manifests == {}


def test_cancel(source: FakeRegistry, target: WritableRegistry, world: PushWorld) -> None:
    cancel = threading.Event()

    def give_up(request: Received) -> Reply | None:
        cancel.set()
        return None

    source.push("app", "1", {"a": noise(LARGE)})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    target.rules.append(give_up)
    with pytest.raises(PushCancelledError):
        world.push(f"{target.host}/app:1", cancel=cancel)
    assert target.manifests == {}


def test_rate_limit_is_shown(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    headers = {
        "Retry-After": "3600",
        "RateLimit-Limit": "100;w=21600",
        "RateLimit-Remaining": "0;w=21600",
    }
    source.push("app", "1", {"a": b"a"})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    target.rules.append(lambda _request: Reply(status=429, headers=headers))
    with pytest.raises(UnavailableError, match=r"rate limit: 100 requests in 6 h, 0 left"):
        world.push(f"{target.host}/app:1")


def test_all_tags(source: FakeRegistry, target: WritableRegistry, world: PushWorld) -> None:
    source.push("app", "1", {"a": b"a"})
    source.push("app", "2", {"b": b"b"})
    for tag in "12":
        world.take(f"{source.host}/app:{tag}", f"{target.host}/app:{tag}")
    assert [result.tag for result in world.push(f"{target.host}/app")] == ["1", "2"]
    assert target.manifests["app/2"] == source.manifests["app/2"]


def test_unknown_names_in_dockers_words(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    source.push("app", "1", {"a": b"a"})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    with pytest.raises(NotFoundError, match=f"^tag does not exist: {target.host}/app:9$"):
        world.push(f"{target.host}/app:9")
    with pytest.raises(
        NotFoundError, match=f"^An image does not exist locally with the tag: {target.host}/none$"
    ):
        world.push(f"{target.host}/none:1")
    assert target.received == []


def test_an_index_with_holes_is_not_pushed(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    here = source.push("app", "here", {"a": b"a"})
    there = source.push("app", "there", {"b": b"b"}, platform=OTHER)
    source.push_index("app", "1", [(here.manifest, host_platform()), (there.manifest, OTHER)])
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    (result,) = world.push(f"{target.host}/app:1")
    assert result.digest == here.manifest


def test_a_whole_index_is_pushed(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    here = source.push("app", "here", {"a": b"a"})
    there = source.push("app", "there", {"b": b"b"}, platform=OTHER)
    index = source.push_index(
        "app", "1", [(here.manifest, host_platform()), (there.manifest, OTHER)]
    )
    world.pull(f"{source.host}/app:1", platform=OTHER)
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    (result,) = world.push(f"{target.host}/app:1")
    assert result.digest == index
    assert target.manifests["app/1"] == source.manifests["app/1"]
    assert target.blobs == source.blobs
    (alone,) = world.push(f"{target.host}/app:1", platform=OTHER)
    assert alone.digest == there.manifest


def test_wrong_platform(source: FakeRegistry, target: WritableRegistry, world: PushWorld) -> None:
    source.push("app", "1", {"a": b"a"})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    with pytest.raises(NotFoundError, match="does not match the specified platform"):
        world.push(f"{target.host}/app:1", platform=OTHER)


def test_a_registry_that_stores_other_bytes(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    wrong = "sha256:" + "0" * 64

    def lie(request: Received) -> Reply | None:
        if request.headers[METHOD] == "PUT" and "/manifests/" in request.path:
            return Reply(status=201, headers={"Docker-Content-Digest": wrong})
        return None

    source.push("app", "1", {"a": b"a"})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    target.rules.append(lie)
    with pytest.raises(DataLossError, match=f"as {wrong}"):
        world.push(f"{target.host}/app:1")


def test_a_blob_damaged_on_disk_is_refused(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    pushed = source.push("app", "1", {"a": b"a"})
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    blob = world.root / "content/blobs/sha256" / pushed.layers[0].removeprefix("sha256:")
    data = bytearray(blob.read_bytes())
    data[20] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(data)
    with pytest.raises(KedgeError, match="digest"):
        world.push(f"{target.host}/app:1")
    assert target.manifests == {}


def test_foreign_layers_stay_where_they_are(
    source: FakeRegistry, target: WritableRegistry, world: PushWorld
) -> None:
    pushed = source.push("app", "0", {"a": b"a"}, layer_type=media_types.DOCKER_FOREIGN_LAYER)
    document = json.loads(source.manifests["app/0"][1])
    document["layers"][0]["urls"] = ["https://example.com/layer"]
    source.put_manifest("app", "1", media_types.OCI_MANIFEST, json.dumps(document).encode())
    world.take(f"{source.host}/app:1", f"{target.host}/app:1")
    world.push(f"{target.host}/app:1")
    assert pushed.layers[0] not in target.blobs
    assert world.statuses(pushed.diff_ids[0]) == ["Skipped foreign layer"]
