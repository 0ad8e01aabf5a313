"""How a registry lies in an object store, and how its catalog is made again from there.

``blobs/ALGORITHM/HEX`` are the bytes; ``repositories/NAME/_manifests/ALGORITHM/HEX`` and
``repositories/NAME/_tags/TAG`` say what has a name, the manifest's media type being the object's
and the tag's content the digest. No part of a repository's name begins with an underscore, so no
key has two meanings. What is here suffices to begin again on another host: the catalog beside it
is faster to ask, nothing else.
"""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO, Final, NamedTuple

from kedge.oci.digests import is_digest
from kedge.oci.hashing import has_digest
from kedge.oci.references import is_repository, is_tag
from kedge.registry.catalog import Catalog
from kedge.registry.documents import Document, parse_document
from kedge.registry.failures import DistributionError
from kedge.registry.objects import Objects

_BLOBS: Final = "blobs/"
_REPOSITORIES: Final = "repositories/"
_MANIFESTS: Final = "/_manifests/"
_TAGS: Final = "/_tags/"
_PLAIN: Final = "text/plain"
_READERS: Final = 16


class Restored(NamedTuple):
    """What a catalog was made of."""

    manifests: int
    tags: int
    blobs: int


class _Found(NamedTuple):
    repository: str
    digest: str
    document: Document
    data: bytes


class Bucket:
    """A registry's objects; thread-safe."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    # Blobs.

    def has_blob(self, digest: str) -> bool:
        """Tell whether a blob's bytes are there."""
        return self._objects.size_bytes(_blob_key(digest)) is not None

    def put_blob(self, digest: str, file: BinaryIO, size_bytes: int) -> None:
        """Store a blob, unless its bytes are there already."""
        if self._objects.size_bytes(_blob_key(digest)) != size_bytes:
            self._objects.put_file(_blob_key(digest), file, size_bytes)

    def blob_chunks(self, digest: str, offset: int, length: int) -> Iterator[bytes] | None:
        """Return a part of a blob; None where its bytes are not there."""
        return self._objects.chunks(_blob_key(digest), offset, length)

    def blob_address(self, digest: str) -> str:
        """Return a URL that gives a blob out for a while."""
        return self._objects.address(_blob_key(digest))

    def blobs(self) -> Iterator[tuple[str, int]]:
        """Yield digest and size of every blob."""
        for found in self._objects.walk(_BLOBS):
            digest = _digest(found.key.removeprefix(_BLOBS))
            if digest:
                yield digest, found.size_bytes

    def delete_blob(self, digest: str) -> None:
        """Remove a blob's bytes."""
        self._objects.delete(_blob_key(digest))

    def abandon_uploads(self, older_than_s: float) -> None:
        """Remove what uploads that broke off have left."""
        self._objects.abandon_uploads(older_than_s)

    # Names.

    def put_manifest(self, repository: str, digest: str, media_type: str, data: bytes) -> None:
        """Store a manifest."""
        self._objects.put(_manifest_key(repository, digest), data, media_type)

    def put_tag(self, repository: str, tag: str, digest: str) -> None:
        """Store what a tag means."""
        self._objects.put(_tag_key(repository, tag), digest.encode(), _PLAIN)

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Remove a manifest."""
        self._objects.delete(_manifest_key(repository, digest))

    def delete_tag(self, repository: str, tag: str) -> None:
        """Remove a tag."""
        self._objects.delete(_tag_key(repository, tag))

    def restore(self, catalog: Catalog, now_ns: int) -> Restored:
        """Fill an empty catalog with what is here, all of it or nothing.

        A blob comes back into every repository with a manifest that needs it; one that no
        manifest needs is pushed again.
        """
        with _reading() as readers, catalog.transaction():
            sizes = dict(self.blobs())
            manifests = 0
            for found in readers.map(self._read_manifest, self._keys(_MANIFESTS)):
                if found is None:
                    continue
                manifests += 1
                catalog.add_manifest(
                    found.repository, found.digest, found.document, found.data, now_ns
                )
                for digest in found.document.blobs:
                    if digest in sizes:
                        catalog.add_blob(found.repository, digest, sizes[digest], now_ns)
            tags = 0
            for repository, tag, digest in readers.map(self._read_tag, self._keys(_TAGS)):
                if digest:
                    catalog.set_tag(repository, tag, digest, now_ns)
                    tags += 1
        return Restored(manifests, tags, len(sizes))

    def _keys(self, kind: str) -> list[tuple[str, str]]:
        """Return repository and name of everything of one kind."""
        keys = (found.key for found in self._objects.walk(_REPOSITORIES))
        split = (key.removeprefix(_REPOSITORIES).partition(kind) for key in keys)
        return [(repository, name) for repository, _, name in split if name]

    def _read_manifest(self, key: tuple[str, str]) -> _Found | None:
        """Return a manifest; None where it has gone meanwhile or is not what its key says."""
        repository, digest = key[0], _digest(key[1])
        if not digest or not is_repository(repository):
            return None
        found = self._objects.get(_manifest_key(repository, digest))
        if found is None or not has_digest(found[0], digest):
            return None
        try:
            return _Found(repository, digest, parse_document(*found), found[0])
        except DistributionError:
            return None

    def _read_tag(self, key: tuple[str, str]) -> tuple[str, str, str]:
        repository, tag = key
        found = self._objects.get(_tag_key(repository, tag)) if is_tag(tag) else None
        digest = found[0].decode(errors="replace") if found is not None else ""
        return repository, tag, digest if is_digest(digest) else ""


@contextmanager
def _reading() -> Generator[ThreadPoolExecutor, None, None]:
    readers = ThreadPoolExecutor(_READERS, thread_name_prefix="restore")
    try:
        yield readers
    finally:
        readers.shutdown(cancel_futures=True)


def _blob_key(digest: str) -> str:
    return _BLOBS + digest.replace(":", "/", 1)


def _manifest_key(repository: str, digest: str) -> str:
    return f"{_REPOSITORIES}{repository}{_MANIFESTS}{digest.replace(':', '/', 1)}"


def _tag_key(repository: str, tag: str) -> str:
    return f"{_REPOSITORIES}{repository}{_TAGS}{tag}"


def _digest(path: str) -> str:
    digest = path.replace("/", ":", 1)
    return digest if is_digest(digest) else ""
