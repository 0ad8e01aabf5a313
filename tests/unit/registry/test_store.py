import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.oci.hashing import sha256_digest
from kedge.oci.media_types import OCI_MANIFEST
from kedge.registry.blobs import LocalBlob
from kedge.registry.failures import DistributionError, ErrorCode
from kedge.registry.store import HOUR_NS, RegistryStore
from tests.unit.registry.test_documents import document, entry


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_ns = 10 * HOUR_NS

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / 1e9


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(tmp_path: Path, clock: HandClock) -> Iterator[RegistryStore]:
    opened = RegistryStore(str(tmp_path / "registry"), clock=clock)
    yield opened
    opened.close()


def push_blob(store: RegistryStore, repository: str, data: bytes) -> str:
    upload = store.uploads.begin(repository)
    upload.writer.write(data)
    digest = sha256_digest(data)
    store.publish(upload, digest)
    return digest


def push_image(store: RegistryStore, repository: str, tag: str, layer: bytes = b"l") -> str:
    config, blob = push_blob(store, repository, b"{}"), push_blob(store, repository, layer)
    data = document(config=entry(config), layers=[entry(blob)])
    return store.put_manifest(repository, tag, data, content_type=OCI_MANIFEST).digest


def read(store: RegistryStore, repository: str, digest: str) -> bytes:
    opened = store.open_blob(repository, digest)
    assert isinstance(opened, LocalBlob)
    with opened.file as file:
        return file.read()


def has(store: RegistryStore, data: bytes) -> bool:
    return store.content.exists(sha256_digest(data))


def test_a_blob_that_was_looked_at_is_kept_a_while_longer(
    store: RegistryStore, clock: HandClock
) -> None:
    digest = push_blob(store, "a", b"seen")
    push_blob(store, "a", b"unseen")
    clock.now_ns += HOUR_NS - 1
    assert store.is_stale(store.blob("a", digest))
    store.note_interest("a", digest)
    assert not store.is_stale(store.blob("a", digest))
    clock.now_ns += 2
    done = store.collect()
    assert (done.blobs, has(store, b"seen"), has(store, b"unseen")) == (1, True, False)
    with pytest.raises(DistributionError, match="blob unknown"):
        store.blob("a", sha256_digest(b"unseen"))


def test_a_manifest_that_arrives_too_late_is_refused(
    store: RegistryStore, clock: HandClock
) -> None:
    config, layer = push_blob(store, "a", b"{}"), push_blob(store, "a", b"l")
    clock.now_ns += 2 * HOUR_NS
    store.collect()
    data = document(config=entry(config), layers=[entry(layer)])
    with pytest.raises(DistributionError, match="push it first") as caught:
        store.put_manifest("a", "v1", data, content_type=OCI_MANIFEST)
    assert caught.value.code is ErrorCode.MANIFEST_BLOB_UNKNOWN


def test_untagged_manifests_go_only_where_that_is_wanted(
    store: RegistryStore, clock: HandClock
) -> None:
    old = push_image(store, "a", "v1", b"old")
    push_image(store, "a", "v1", b"new")
    clock.now_ns += 2 * HOUR_NS
    assert store.collect().manifests == 0
    assert store.has_manifest("a", old)
    assert store.collect(untagged_ns=3 * HOUR_NS).manifests == 0
    done = store.collect(untagged_ns=HOUR_NS)
    assert (done.manifests, done.blobs) == (1, 1)
    assert not store.has_manifest("a", old)
    assert store.manifest("a", "v1")


def test_what_an_index_or_a_subject_keeps_goes_with_it(
    store: RegistryStore, clock: HandClock
) -> None:
    child = push_image(store, "a", "child")
    index = store.put_manifest(
        "a", "list", document(manifests=[entry(child, OCI_MANIFEST)]), content_type=""
    ).digest
    about = document(
        config=entry(sha256_digest(b"{}")), layers=[], subject=entry(index, OCI_MANIFEST)
    )
    referrer = store.put_manifest("a", sha256_digest(about), about, content_type="").digest
    store.delete_manifest("a", "child")
    clock.now_ns += 2 * HOUR_NS
    assert store.collect(untagged_ns=HOUR_NS).manifests == 0
    store.delete_manifest("a", "list")
    assert store.collect(untagged_ns=HOUR_NS).manifests == 3
    assert not any(store.has_manifest("a", digest) for digest in (child, index, referrer))


def test_blobs_are_shared_and_given_out_only_where_they_are(store: RegistryStore) -> None:
    digest = push_blob(store, "a", b"data")
    assert store.blob_sources(digest) == ["a"]
    assert not store.has_blob("b", digest)
    assert not store.mount("b", digest, "c")
    assert store.mount("b", digest, "a")
    store.delete_blob("a", digest)
    assert store.blob_sources(digest) == ["b"]
    assert read(store, "b", digest) == b"data"


def test_a_blob_lost_from_disk_is_pushed_again(store: RegistryStore) -> None:
    digest = push_blob(store, "a", b"data")
    store.content.remove(digest)
    with pytest.raises(DistributionError, match="is lost: push it again"):
        store.open_blob("a", digest)
    assert not store.mount("b", digest, "a")
    push_blob(store, "a", b"data")
    assert read(store, "a", digest) == b"data"


def test_an_upload_is_one_requests_at_a_time(store: RegistryStore) -> None:
    upload = store.uploads.begin("a")
    with pytest.raises(DistributionError, match="being written by another request"):
        store.uploads.hold("a", upload.upload_id)
    store.uploads.release(upload)
    with pytest.raises(DistributionError, match="upload unknown"):
        store.uploads.hold("b", upload.upload_id)
    assert store.uploads.hold("a", upload.upload_id) is upload


def test_idle_uploads_are_given_up(store: RegistryStore, clock: HandClock) -> None:
    upload = store.uploads.begin("a")
    clock.now_ns += 2 * HOUR_NS
    assert store.collect().uploads == 0
    store.uploads.release(upload)
    clock.now_ns += 2 * HOUR_NS
    assert (store.collect().uploads, len(store.uploads)) == (1, 0)


def test_everything_is_there_after_a_restart(tmp_path: Path, store: RegistryStore) -> None:
    digest = push_image(store, "a/b", "v1")
    store.uploads.begin("a/b")
    store.close()
    again = RegistryStore(str(tmp_path / "registry"))
    assert again.manifest("a/b", "v1").digest == digest
    assert (again.repositories(), again.tags("a/b")) == (["a/b"], ["v1"])
    assert len(again.uploads) == 0
    again.close()


def test_pushes_and_collections_side_by_side_lose_nothing(
    store: RegistryStore, clock: HandClock
) -> None:
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            store.collect(unused_ns=HOUR_NS)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for number in range(60):
            push_image(store, "a", f"v{number}", f"layer {number % 7}".encode())
            clock.now_ns += 1
    finally:
        stop.set()
        collector.join()
    for number in range(60):
        store.manifest("a", f"v{number}")
        layer = f"layer {number % 7}".encode()
        assert read(store, "a", sha256_digest(layer)) == layer


def test_a_disk_with_a_limit_keeps_what_was_wanted_last(
    store: RegistryStore, clock: HandClock
) -> None:
    push_image(store, "a", "v1", b"1" * 400)
    clock.now_ns += 1
    push_blob(store, "a", b"2" * 400)
    clock.now_ns += 1
    store.hold_below(1000)
    assert has(store, b"1" * 400)
    store.note_interest("a", sha256_digest(b"1" * 400))
    clock.now_ns += 1
    late = push_blob(store, "b", b"3" * 400)
    assert [has(store, letter * 400) for letter in (b"1", b"2", b"3")] == [True, False, True]
    assert not store.has_blob("a", sha256_digest(b"2" * 400))
    # What somebody is just getting stays, and so does its record.
    with store.bytes.lease() as lease:
        lease.add(late)
        push_blob(store, "b", b"4" * 900)
        assert has(store, b"3" * 400)
    assert store.has_blob("b", late)
    assert store.manifest("a", "v1")
