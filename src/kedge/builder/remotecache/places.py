"""Where a cache is read from: a repository, or an OCI layout among the files of a request."""

import io
from typing import BinaryIO, Final, Protocol

from kedge.builder.files.tree import Tree
from kedge.distribution.places import Document
from kedge.errdefs import DataLossError, NotFoundError
from kedge.oci import media_types
from kedge.oci.digests import encoded_part
from kedge.oci.hashing import has_digest, new_hash
from kedge.oci.image_spec import Descriptor, parse_index, sniff_media_type

_REF_NAME: Final = "org.opencontainers.image.ref.name"
_PIECE_BYTES: Final = 1 << 18


class CachePlace(Protocol):
    """The part of `kedge.distribution.places.Place` that a cache is read with."""

    def document(self, name: str) -> Document:
        """Return the document of a digest; the cache's own where ``name`` is empty."""
        ...

    def fetch(self, blob: Descriptor, into: BinaryIO) -> None:
        """Write a blob's bytes to an empty file, verified."""
        ...


def read_small(place: CachePlace, blob: Descriptor) -> bytes:
    """Return a blob that fits in memory.

    Raises:
        DataLossError: It is larger than any such document.
    """
    if blob.size > media_types.MANIFEST_MAX_BYTES * 8:
        raise DataLossError(f"{blob.digest} has {blob.size} bytes, too many for a document")
    into = io.BytesIO()
    place.fetch(blob, into)
    return into.getvalue()


class LayoutTree:
    """An OCI layout that is a tree of files."""

    def __init__(self, tree: Tree, tag: str, digest: str = "") -> None:
        """Read the document ``digest``, else the one called ``tag``, or the only one."""
        self._tree = tree
        self._tag = tag
        self._digest = digest

    def document(self, name: str) -> Document:
        """Return a document."""
        digest = name or self._digest or self._named()
        with self._open(digest) as stream:
            data = stream.read(media_types.MANIFEST_MAX_BYTES + 1)
        if not has_digest(data, digest):
            raise DataLossError(f"manifest {digest} of the local cache is damaged")
        return Document(sniff_media_type(data), digest, data)

    def fetch(self, blob: Descriptor, into: BinaryIO) -> None:
        """Copy a blob out."""
        algorithm = blob.digest.partition(":")[0]
        hashed = new_hash(algorithm)
        with self._open(blob.digest) as stream:
            while piece := stream.read(_PIECE_BYTES):
                hashed.update(piece)
                into.write(piece)
        if f"{algorithm}:{hashed.hexdigest()}" != blob.digest:
            raise DataLossError(f"blob {blob.digest} of the local cache is damaged")

    def _named(self) -> str:
        if self._tree.entry("index.json") is None:
            raise NotFoundError("the folder holds no cache: it has no index.json")
        with self._tree.open("index.json") as stream:
            entries = parse_index(stream.read()).manifests
        for entry in entries:
            if entry.annotations.get(_REF_NAME) == self._tag:
                return entry.digest
        if len(entries) == 1:
            return entries[0].digest
        raise NotFoundError(f"the folder holds no cache called {self._tag}")

    def _open(self, digest: str) -> BinaryIO:
        path = f"blobs/{digest.partition(':')[0]}/{encoded_part(digest)}"
        if self._tree.entry(path) is None:
            raise NotFoundError(f"the local cache has no blob {digest}")
        return self._tree.open(path)
