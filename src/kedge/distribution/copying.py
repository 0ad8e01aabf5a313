"""Copy an image from one place to another, byte for byte, without a store in between.

The order is a push's: blobs, then what names them, the name itself last. Blobs go through one
temporary file each, so that both ends can break off and go on; between two repositories of one
registry they are mounted.
"""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple, cast

from kedge.distribution.places import Document, Place, RegistryPlace
from kedge.distribution.upload import Source, ensure_blob, not_watched
from kedge.errdefs import NotFoundError, NotSupportedError
from kedge.lib.ids import short_id
from kedge.oci import media_types
from kedge.oci.image_spec import Descriptor, parse_index, parse_manifest
from kedge.oci.platforms import Platform, best_match

_WORKERS: Final = 4
_MAX_DEPTH: Final = 4


class Copied(NamedTuple):
    """What a copy came to."""

    digest: str
    blobs: int
    """How many were not there yet."""
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """What is to be copied."""

    platform: Platform | None = None
    """Only this image of an index; everything where it is None."""
    referrers: bool = False
    """Also signatures, attestations and whatever else is about the image."""


class ImageCopy:
    """One copy from ``source`` to ``target``."""

    def __init__(
        self,
        source: Place,
        target: Place,
        options: CopyOptions,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Copy nothing yet; ``report`` is told a line for each blob, from several threads."""
        self._source = source
        self._target = target
        self._options = options
        self._report = report
        self._blobs: dict[str, Descriptor] = {}
        self._documents: dict[str, Document] = {}

    def run(self) -> Copied:
        """Copy, and return what was done.

        Raises:
            KedgeError: One line; the target's name is as it was.
        """
        top = self._choose(self._source.document(""))
        self._collect(top, 0)
        with ThreadPoolExecutor(_WORKERS) as workers:
            copied = sum(workers.map(self._copy_blob, self._blobs.values()))
        for document in self._documents.values():
            if document.digest != top.digest:
                self._target.put(document, named=False)
        self._target.put(top, named=True)
        return Copied(top.digest, copied, len(self._documents))

    def _choose(self, top: Document) -> Document:
        platform = self._options.platform
        if platform is None or top.media_type not in media_types.INDEXES:
            return top
        entries = parse_index(top.data).manifests
        position = best_match(platform, [entry.image_platform() for entry in entries])
        if position is None:
            offered = ", ".join(str(p) for e in entries if (p := e.image_platform()))
            raise NotFoundError(
                f"no matching manifest for {platform} in the manifest list entries:"
                f" {offered or 'there are none'}"
            )
        return self._source.document(entries[position].digest)

    def _collect(self, document: Document, depth: int) -> None:
        """Remember a document with everything below it, what it names before itself."""
        if document.digest in self._documents:
            return
        if depth > _MAX_DEPTH:
            raise NotSupportedError(f"index {document.digest} is nested too deeply")
        if document.media_type in media_types.INDEXES:
            for entry in parse_index(document.data).manifests:
                self._collect(self._source.document(entry.digest), depth + 1)
        elif document.media_type in media_types.MANIFESTS:
            manifest = parse_manifest(document.data)
            for blob in (manifest.config, *manifest.layers):
                if not blob.is_foreign:
                    self._blobs[blob.digest] = blob
        else:
            raise NotSupportedError(
                f"{document.digest} is of type {document.media_type}, which cannot be copied"
            )
        self._documents[document.digest] = document
        if self._options.referrers:
            for referrer in self._source.referrers(document.digest):
                self._collect(self._source.document(referrer.digest), depth + 1)

    def _copy_blob(self, blob: Descriptor) -> int:
        shown = short_id(blob.digest)
        if self._target.has_blob(blob.digest):
            self._report(f"{shown}: Already exists")
            return 0
        mounts = self._mount_sources()
        with tempfile.TemporaryFile(prefix="kedge-") as file:
            data = cast("BinaryIO", file)
            if mounts and isinstance(self._target, RegistryPlace):
                source = Source(lambda: self._reopened(blob, data), not_watched)
                done = ensure_blob(self._target.client, blob, source, mounts=mounts)
                if done.mounted_from:
                    self._report(f"{shown}: Mounted from {done.mounted_from}")
                    return 1
            else:
                self._source.fetch(blob, data)
                self._target.store(blob, data)
        self._report(f"{shown}: Copied")
        return 1

    def _reopened(self, blob: Descriptor, data: BinaryIO) -> BinaryIO:
        """Return a reader of the blob, fetched when the registry did not mount it after all."""
        if not data.tell():
            self._source.fetch(blob, data)
            data.flush()
        return open(f"/proc/self/fd/{data.fileno()}", "rb")

    def _mount_sources(self) -> Sequence[str]:
        source, target = self._source, self._target
        if not isinstance(source, RegistryPlace) or not isinstance(target, RegistryPlace):
            return ()
        one, other = source.client, target.client
        if one.endpoint.host != other.endpoint.host or one.repository == other.repository:
            return ()
        return (one.repository,)
