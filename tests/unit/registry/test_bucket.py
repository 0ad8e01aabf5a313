"""A registry over a bucket that fails, or whose host dies, at any of its operations."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from kedge.oci.hashing import sha256_digest
from kedge.registry.bucket import Bucket
from kedge.registry.failures import DistributionError, ErrorCode
from kedge.registry.objects import StoredObject
from kedge.registry.store import RegistryStore
from tests.unit.registry.test_store import push_blob, push_image


class MemoryObjects:
    """Objects in memory that fail when their time has come."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, str]] = {}
        self.left = -1
        """Operations until the failure; negative is never."""

    def _step(self) -> None:
        if self.left == 0:
            raise DistributionError(ErrorCode.UNAVAILABLE, "the bucket is gone")
        self.left -= 1

    def put(self, key: str, data: bytes, media_type: str) -> None:
        self._step()
        self.kept[key] = data, media_type

    def put_file(self, key: str, file: BinaryIO, size_bytes: int) -> None:
        self._step()
        self.kept[key] = file.read(), ""
        assert len(self.kept[key][0]) == size_bytes

    def get(self, key: str) -> tuple[bytes, str] | None:
        self._step()
        return self.kept.get(key)

    def size_bytes(self, key: str) -> int | None:
        self._step()
        return len(self.kept[key][0]) if key in self.kept else None

    def chunks(self, key: str, offset: int, length: int) -> Iterator[bytes] | None:
        self._step()
        return iter([self.kept[key][0][offset : offset + length]]) if key in self.kept else None

    def delete(self, key: str) -> None:
        self._step()
        self.kept.pop(key, None)

    def walk(self, prefix: str) -> Iterator[StoredObject]:
        self._step()
        for key in sorted(self.kept):
            if key.startswith(prefix):
                yield StoredObject(key, len(self.kept[key][0]))

    def address(self, key: str) -> str:
        return f"https://bucket.example/{key}"

    def abandon_uploads(self, older_than_s: float) -> None:
        assert older_than_s >= 0
        self._step()


def work(store: RegistryStore, done: list[str]) -> None:
    """Push, move a tag, delete and collect; note what was answered."""
    push_image(store, "team/app", "v1", b"one")
    done.append("v1")
    push_image(store, "team/app", "moves", b"one")
    push_image(store, "team/app", "moves", b"two")
    done.append("moved")
    store.delete_manifest("team/app", "v1")
    done.append("untagged")
    push_blob(store, "team/app", b"garbage")
    store.collect(unused_ns=0, untagged_ns=0)
    done.append("collected")


def check(store: RegistryStore, objects: MemoryObjects, done: list[str]) -> None:
    """See that every name leads to bytes, and that everything answered is so."""
    tags = store.tags("team/app") if store.repositories() else []
    for tag in tags:
        manifest = store.manifest("team/app", tag)
        for data in (b"{}", b"one", b"two"):
            if sha256_digest(data).encode() in manifest.data:
                assert store.has_blob("team/app", sha256_digest(data))
                key = f"blobs/{sha256_digest(data).replace(':', '/')}"
                assert objects.kept[key][0] == data
    if "v1" in done and "moved" not in done:
        assert "v1" in tags
    if "moved" in done:
        two = sha256_digest(b"two").encode()
        assert two in store.manifest("team/app", "moves").data
    if "untagged" in done:
        assert tags == ["moves"]


def test_cut_short_anywhere_what_was_answered_holds(tmp_path: Path) -> None:
    for steps in range(200):
        objects = MemoryObjects()
        bucket = Bucket(objects)
        store = RegistryStore(str(tmp_path / str(steps)), bucket=bucket)
        assert store.restore() == (0, 0, 0)
        objects.left = steps
        done: list[str] = []
        failure = None
        try:
            work(store, done)
        except DistributionError as error:
            failure = error.code
        objects.left = -1
        elsewhere = RegistryStore(str(tmp_path / f"new{steps}"), bucket=bucket)
        elsewhere.restore()
        check(elsewhere, objects, done)
        elsewhere.close()
        assert store.restore() is None or not done
        check(store, objects, done)
        # The same work is done to its end afterwards, whatever is there already.
        again: list[str] = []
        work(store, again)
        check(store, objects, again)
        store.close()
        if failure is None:
            assert steps > 20
            return
        assert failure is ErrorCode.UNAVAILABLE
    pytest.fail("the work never ends")
