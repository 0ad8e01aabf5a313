"""What every content store guarantees, on every file system at hand."""

import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kedge.content.store import ContentStore
from kedge.errdefs import ConflictError, DataLossError, InvalidParameterError, NotFoundError
from kedge.oci.hashing import new_hash, sha256_digest


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[ContentStore]:
    base = "/dev/shm" if request.param == "memory" else None
    if base and not os.access(base, os.W_OK):
        pytest.skip("there is no writable /dev/shm")
    with tempfile.TemporaryDirectory(prefix="kedge-content-", dir=base) as root:
        yield ContentStore(f"{root}/content")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(chunks=st.lists(st.binary(max_size=40), max_size=8))
def test_what_goes_in_comes_out_under_its_digest(store: ContentStore, chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    digest = sha256_digest(data)
    with store.ingest(digest, size=len(data), digest=digest) as writer:
        for chunk in chunks:
            writer.write(chunk)
        assert writer.offset == len(data)
        assert writer.commit() == digest
    assert store.read(digest) == data
    with store.open(digest) as stream:
        assert stream.read() == data
    assert store.info(digest).size_bytes == len(data)
    assert digest in [blob.digest for blob in store.walk()]


def test_a_blob_is_not_there_before_commit(store: ContentStore) -> None:
    digest = sha256_digest(b"data")
    with store.ingest(digest, digest=digest) as writer:
        writer.write(b"data")
        assert not store.exists(digest)
        with pytest.raises(NotFoundError, match=f"no such blob: {digest}"):
            store.open(digest)
        writer.commit()
    assert store.exists(digest)


def test_an_ingest_goes_on_where_it_stopped(store: ContentStore) -> None:
    digest = sha256_digest(b"first second")
    with store.ingest("x", size=12, digest=digest) as writer:
        writer.write(b"first ")
    with store.ingest("x", size=12, digest=digest) as writer:
        assert writer.offset == 6
        partial = writer.open_partial()
        assert os.pread(partial, 100, 0) == b"first "
        writer.write(b"second")
        assert writer.commit() == digest
        assert os.pread(partial, 100, 6) == b"second"
        os.close(partial)
    assert store.read(digest) == b"first second"


def test_a_leftover_too_long_to_be_the_beginning_is_dropped(store: ContentStore) -> None:
    with store.ingest("x") as writer:
        writer.write(b"much too long")
    with store.ingest("x", size=3, digest=sha256_digest(b"abc")) as writer:
        assert writer.offset == 0
        writer.write(b"abc")
        writer.commit()


def test_rewind_begins_again(store: ContentStore) -> None:
    with store.ingest("x") as writer:
        writer.write(b"wrong")
        writer.rewind()
        writer.write(b"right")
        assert writer.commit(sha256_digest(b"right")) == sha256_digest(b"right")


def test_wrong_bytes_are_refused_and_forgotten(store: ContentStore) -> None:
    digest = sha256_digest(b"right")
    with store.ingest("x", size=5, digest=digest) as writer:
        writer.write(b"wrong")
        with pytest.raises(DataLossError, match="does not match its digest"):
            writer.commit()
    assert not store.exists(digest)
    assert store.ingest("x").offset == 0


def test_wrong_length_is_refused_and_forgotten(store: ContentStore) -> None:
    digest = sha256_digest(b"abc")
    with store.ingest("x", size=4, digest=digest) as writer:
        writer.write(b"abc")
        with pytest.raises(DataLossError, match="3 bytes long, but 4 were announced"):
            writer.commit()
    with (
        store.ingest("x", size=2, digest=digest) as writer,
        pytest.raises(DataLossError, match="longer than the 2 bytes announced"),
    ):
        writer.write(b"abc")
    assert store.ingest("x").offset == 0


def test_one_writer_at_a_time(store: ContentStore) -> None:
    with store.ingest("x"), pytest.raises(ConflictError, match="x is being written already"):
        store.ingest("x")
    store.ingest("x").close()


def test_other_algorithms(store: ContentStore) -> None:
    hashed = new_hash("sha512")
    hashed.update(b"data")
    digest = f"sha512:{hashed.hexdigest()}"
    with store.ingest(digest, digest=digest) as writer:
        writer.write(b"data")
        assert writer.commit() == digest
    assert store.read(digest) == b"data"


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "sha256:", "md5:00", "x"])
def test_a_digest_cannot_name_another_file(store: ContentStore, digest: str) -> None:
    assert not store.exists(digest)
    for call in (store.open, store.info, store.remove, store.read):
        with pytest.raises(InvalidParameterError):
            call(digest)
    with pytest.raises(InvalidParameterError):
        store.ingest("x", digest=digest)


def test_remove_says_how_much_was_freed(store: ContentStore) -> None:
    digest = store.put(b"12345")
    assert store.put(b"12345") == digest
    assert store.remove(digest) == 5
    assert store.remove(digest) == 0
    assert not store.exists(digest)


def test_collect_removes_what_nobody_needs(store: ContentStore) -> None:
    needed, leased, garbage = (store.put(text) for text in (b"needed", b"leased", b"garbage"))
    with store.lease() as lease:
        lease.add(leased)
        collected = store.collect(lambda: {needed})
        assert collected.digests == (garbage,)
        assert collected.freed_bytes == len(b"garbage")
        assert store.exists(leased)
    assert store.collect(lambda: {needed}).digests == (leased,)
    assert store.exists(needed)


def test_what_is_released_during_a_collection_stays(store: ContentStore) -> None:
    digest = store.put(b"new")
    lease = store.lease()
    lease.add(digest)

    def reachable() -> set[str]:
        # The record is written and the lease released right after the records were read.
        lease.release()
        return set()

    assert store.collect(reachable).digests == ()
    assert store.exists(digest)


def test_a_lease_held_twice_ends_with_the_last(store: ContentStore) -> None:
    digest = store.put(b"shared")
    with store.lease() as outer:
        outer.add(digest, digest)
        with store.lease() as inner:
            inner.add(digest)
        assert store.collect(set).digests == ()
    assert store.collect(set).digests == (digest,)


def test_old_partial_blobs_are_removed(store: ContentStore) -> None:
    store.put(b"whole")
    with store.ingest("dead") as writer:
        writer.write(b"dead")
    far_future = 1 << 62
    with store.ingest("busy") as writer:
        writer.write(b"busy")
        assert store.remove_stale_ingests(0) == 0
        assert store.remove_stale_ingests(far_future) == 4
        writer.commit(sha256_digest(b"busy"))
    assert store.ingest("dead").offset == 0
    assert store.exists(sha256_digest(b"whole"))
