import errno
import os
from pathlib import Path

import pytest

from kedge.content.store import ContentStore
from kedge.errdefs import DataLossError, SystemFailureError
from kedge.oci.hashing import sha256_digest


def blob_path(root: Path, digest: str) -> Path:
    return root / "blobs" / digest.replace(":", "/")


def test_damage_on_disk_is_found(tmp_path: Path) -> None:
    store = ContentStore(str(tmp_path))
    digest = store.put(b"good")
    blob_path(tmp_path, digest).chmod(0o644)
    blob_path(tmp_path, digest).write_bytes(b"evil")
    with pytest.raises(DataLossError, match="is damaged on disk"):
        store.read(digest)


def test_files_that_are_no_blobs_are_not_listed(tmp_path: Path) -> None:
    store = ContentStore(str(tmp_path))
    (tmp_path / "blobs/sha256/lost+found").mkdir()
    assert list(store.walk()) == []
    assert store.collect(set).digests == ()


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ContentStore(str(tmp_path))

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with store.ingest("sha256:abc") as writer:
        writer.write(b"some")
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(SystemFailureError) as caught:
            writer.write(b"more")
    assert str(caught.value) == (
        f"no space left on device: cannot write sha256:abc to {tmp_path}; free some space there"
    )
    assert list((tmp_path / "ingest").iterdir()) == []


def test_a_failing_flush_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ContentStore(str(tmp_path))

    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with store.ingest("x") as writer:
        writer.write(b"data")
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(SystemFailureError, match="Input/output error"):
            writer.commit()
    assert list(store.walk()) == []
    assert list((tmp_path / "ingest").iterdir()) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ContentStore(str(tmp_path))
    real = os.write

    def short(fd: int, data: memoryview) -> int:
        return real(fd, data[:3])

    with store.ingest("x") as writer:
        monkeypatch.setattr(os, "write", short)
        writer.write(b"0123456789")
        monkeypatch.undo()
        writer.commit(sha256_digest(b"0123456789"))


def test_blobs_cannot_be_changed_by_accident(tmp_path: Path) -> None:
    digest = ContentStore(str(tmp_path)).put(b"data")
    assert blob_path(tmp_path, digest).stat().st_mode & 0o777 == 0o444


def test_a_store_is_reopened(tmp_path: Path) -> None:
    digest = ContentStore(str(tmp_path)).put(b"data")
    assert ContentStore(str(tmp_path)).read(digest) == b"data"


def test_opening_removes_attempts_that_no_other_process_can_go_on_with(tmp_path: Path) -> None:
    store = ContentStore(str(tmp_path))
    digest = sha256_digest(b"0123456789")
    for ref in ("layer of a build", digest):
        with store.ingest(ref) as writer:
            writer.write(b"01234")
    again = ContentStore(str(tmp_path))
    with again.ingest("layer of a build") as unnamed, again.ingest(digest) as named:
        assert (unnamed.offset, named.offset) == (0, 5)


def test_names_are_flushed_at_once_or_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr("kedge.content.store.sync_directory", flushed.append)
    store = ContentStore(str(tmp_path))
    for data in (b"one", b"two"):
        store.put(data, durable_name=False)
    assert flushed == []
    store.flush_names()
    store.flush_names()
    assert flushed == [str(tmp_path / "blobs/sha256")]
    store.put(b"three")
    assert len(flushed) == 2
    assert all(store.exists(sha256_digest(data)) for data in (b"one", b"two", b"three"))
