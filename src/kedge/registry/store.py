"""The registry's use cases on what it stores: blobs in and out, manifests, tags, referrers.

Synchronous and thread-safe. Blobs are shared by all repositories and given out only through one
that has them. A blob is leased from before it is looked for until its record is written, so
that collecting garbage beside pushes never removes what somebody is about to name.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from kedge.content.store import ContentStore
from kedge.errdefs import DataLossError
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.oci.digests import is_digest
from kedge.oci.media_types import MANIFEST_MAX_BYTES, OCI_INDEX
from kedge.registry.blobs import BlobBytes, Limit, OpenedBlob
from kedge.registry.bucket import Bucket, Restored
from kedge.registry.catalog import Catalog, Referrer, StoredBlob, StoredManifest
from kedge.registry.checks import check_digest, check_reference, check_repository, check_tag
from kedge.registry.documents import Document, parse_document
from kedge.registry.failures import DistributionError, ErrorCode
from kedge.registry.uploads import Upload, UploadSessions

_SECOND_NS: Final = 1_000_000_000
HOUR_NS: Final = 3600 * _SECOND_NS
_LEVELS_MAX: Final = 16
"""How deep indexes within indexes are followed when garbage is collected."""


class Pushed(NamedTuple):
    """A manifest that was taken in."""

    digest: str
    subject: str
    tags: tuple[str, ...]


class Collected(NamedTuple):
    """What a garbage collection did."""

    manifests: int
    blobs: int
    freed_bytes: int
    uploads: int


class RegistryStore:
    """Everything one registry keeps below one directory."""

    def __init__(
        self,
        root: str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        sparse: bool = False,
        bucket: Bucket | None = None,
        redirects: bool = False,
    ) -> None:
        """Open or create the registry at ``root``.

        Args:
            root: Its directory, made where it is missing.
            clock: Tells the time.
            sparse: Take manifests whose blobs were not pushed.
            bucket: Keeps everything besides; a new catalog is made from what is there.
            redirects: Send clients to the bucket for blobs that are not on this disk.
        """
        os.makedirs(root, mode=0o700, exist_ok=True)
        self._clock = clock
        self._sparse = sparse
        self._bucket = bucket
        self._naming = threading.Lock()
        self.content = ContentStore(os.path.join(root, "content"))
        self.bytes = BlobBytes(self.content, bucket, redirects=redirects)
        self._catalog = Catalog(os.path.join(root, "registry.db"))
        self.uploads = UploadSessions(self.content, clock)

    def restore(self) -> Restored | None:
        """Fill a new catalog from the bucket; None where there is nothing to do."""
        if self._bucket is None or not self._catalog.is_empty():
            return None
        return self._bucket.restore(self._catalog, self._clock.time_ns())

    def hold_below(self, size_bytes: int) -> None:
        """Use no more of this disk for blobs; what nobody wanted for the longest goes first.

        Without a bucket whoever asks for it afterwards is told that it is unknown.
        """

        def forget(digest: str) -> None:
            if self._bucket is None:
                self._catalog.forget_blob(digest)

        self.bytes.hold_below(Limit(size_bytes, self._catalog.blobs_seen, forget))

    def close(self) -> None:
        """Let go of all files."""
        self.uploads.close()
        self._catalog.close()

    # Names.

    def repositories(self, after: str = "", limit: int = -1) -> list[str]:
        """Return the repositories with manifests, in lexical order."""
        return self._catalog.repositories(after, limit)

    def tags(self, repository: str, after: str = "", limit: int = -1) -> list[str]:
        """Return a repository's tags in lexical order.

        Raises:
            DistributionError: There is no such repository.
        """
        if not self._catalog.has_repository(check_repository(repository)):
            raise DistributionError(
                ErrorCode.NAME_UNKNOWN, f"repository {repository} is not known to this registry"
            )
        return self._catalog.tags(repository, after, limit)

    # Blobs.

    def has_blob(self, repository: str, digest: str) -> bool:
        """Tell whether a repository has a blob."""
        return self._catalog.blob(repository, digest) is not None

    def blob(self, repository: str, digest: str) -> StoredBlob:
        """Return what is known of a blob.

        Raises:
            DistributionError: The repository has no such blob.
        """
        check_repository(repository)
        found = self._catalog.blob(repository, check_digest(digest))
        if found is None:
            raise DistributionError(ErrorCode.BLOB_UNKNOWN, f"blob unknown: {digest}")
        return found

    def open_blob(self, repository: str, digest: str) -> OpenedBlob:
        """Open a blob for reading.

        Raises:
            DistributionError: The repository has no such blob, or it is lost.
        """
        opened = self.bytes.open(digest, self.blob(repository, digest).size_bytes)
        if opened is None:
            raise _lost(digest)
        return opened

    def remote_chunks(self, digest: str, offset: int, length: int) -> Iterator[bytes]:
        """Return a part of a blob that `open_blob` found in the bucket, piece by piece.

        Raises:
            DistributionError: It is lost, or the bucket does not answer.
        """
        chunks = self.bytes.chunks(digest, offset, length)
        if chunks is None:
            raise _lost(digest)
        return chunks

    def is_stale(self, blob: StoredBlob) -> bool:
        """Tell whether `note_interest` is due, lest the blob be collected before it is used."""
        return self._clock.time_ns() - blob.seen_ns > HOUR_NS // 2

    def note_interest(self, repository: str, digest: str) -> None:
        """Note that a client found a blob and may refer to it."""
        self._catalog.touch_blob(repository, digest, self._clock.time_ns())

    def delete_blob(self, repository: str, digest: str) -> None:
        """Take a blob out of a repository; others keep it.

        Raises:
            DistributionError: The repository has no such blob.
        """
        self.blob(repository, digest)
        self._catalog.remove_blob(repository, digest)

    def blob_sources(self, digest: str) -> list[str]:
        """Return the repositories that have a blob."""
        return self._catalog.blob_sources(check_digest(digest))

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Give ``repository`` a blob that ``source`` has; tell whether it has it."""
        check_repository(repository)
        found = self._catalog.blob(source, check_digest(digest))
        with self.bytes.lease() as lease:
            lease.add(digest)
            if found is None or not self.bytes.exists(digest):
                return False
            self._catalog.add_blob(repository, digest, found.size_bytes, self._clock.time_ns())
        return True

    def adopt_blob(self, repository: str, digest: str, size_bytes: int) -> None:
        """Note that a repository has a blob whose bytes are in `content`, leased by the caller."""
        self._catalog.add_blob(repository, digest, size_bytes, self._clock.time_ns())

    def publish(self, upload: Upload, digest: str) -> None:
        """Make what was uploaded a blob of its repository; the session is over.

        Raises:
            DistributionError: The bytes have another digest.
        """
        check_digest(digest)
        size = upload.offset
        try:
            with self.bytes.lease() as lease:
                lease.add(digest)
                self.bytes.keep(upload.writer, digest)
                self._catalog.add_blob(upload.repository, digest, size, self._clock.time_ns())
        except DataLossError as error:
            raise DistributionError(
                ErrorCode.DIGEST_INVALID,
                f"the bytes uploaded do not match {digest}: upload them again",
            ) from error
        finally:
            self.uploads.end(upload)
        self.bytes.added(size)

    # Manifests.

    def manifest(self, repository: str, reference: str) -> StoredManifest:
        """Return the manifest with a tag or digest.

        Raises:
            DistributionError: There is none, or its bytes are damaged.
        """
        check_repository(repository)
        digest = self._digest_of(repository, reference)
        found = self._catalog.manifest(repository, digest) if digest else None
        if found is None:
            raise DistributionError(
                ErrorCode.MANIFEST_UNKNOWN, f"manifest unknown: {repository} has no {reference}"
            )
        return found

    def tag_age_ns(self, repository: str, tag: str) -> int | None:
        """Return how long ago a tag was set or confirmed; None when there is no such tag."""
        tagged = self._catalog.tagged(repository, tag)
        return None if tagged is None else self._clock.time_ns() - tagged[1]

    def has_manifest(self, repository: str, digest: str) -> bool:
        """Tell whether a repository has a manifest."""
        return self._catalog.manifest(repository, digest) is not None

    def tag_digest(self, repository: str, tag: str) -> str:
        """Return the digest behind a tag; empty when there is no such tag."""
        tagged = self._catalog.tagged(repository, tag)
        return "" if tagged is None else tagged[0]

    def confirm_tag(self, repository: str, tag: str) -> None:
        """Note that a tag is, now, what its origin says."""
        tagged = self._catalog.tagged(repository, tag)
        if tagged is not None:
            self._catalog.set_tag(repository, tag, tagged[0], self._clock.time_ns())

    def put_manifest(
        self,
        repository: str,
        reference: str,
        data: bytes,
        *,
        content_type: str,
        tags: Sequence[str] = (),
    ) -> Pushed:
        """Take a manifest in under a tag or its digest, and under ``tags`` besides.

        Raises:
            DistributionError: It is malformed, has another digest, or needs what is not there.
        """
        check_repository(repository)
        if len(data) > MANIFEST_MAX_BYTES:
            raise DistributionError(
                ErrorCode.SIZE_INVALID, f"manifest larger than {MANIFEST_MAX_BYTES} bytes"
            )
        document = parse_document(data, content_type)
        digest = check_reference(reference, data, tags)
        names = (*(() if is_digest(reference) else (reference,)), *tags)
        known = self._catalog.manifest(repository, digest)
        if known is not None and known.media_type != document.media_type:
            raise DistributionError(
                ErrorCode.MANIFEST_INVALID,
                f"manifest invalid: {digest} is known as {known.media_type} here",
            )
        if self._bucket is not None:
            self._check_complete(repository, document)
            self._bucket.put_manifest(repository, digest, document.media_type, data)
        now = self._clock.time_ns()
        # One at a time, so that the bucket and the catalog see tags move in the same order.
        with self._naming:
            with self._catalog.transaction():
                # Inside the transaction, so that nothing it needs is collected in between.
                self._check_complete(repository, document)
                self._catalog.add_manifest(repository, digest, document, data, now)
                for name in names:
                    self._catalog.set_tag(repository, name, digest, now)
            if self._bucket is not None:
                for name in names:
                    self._bucket.put_tag(repository, name, digest)
        return Pushed(digest, document.subject, tuple(tags))

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Remove a tag, or a manifest with all its tags.

        Raises:
            DistributionError: There is none.
        """
        check_repository(repository)
        with self._naming:
            if is_digest(reference):
                gone = self._remove_manifest(repository, reference)
            else:
                if self._bucket is not None:
                    self._bucket.delete_tag(repository, check_tag(reference))
                gone = self._catalog.remove_tag(repository, check_tag(reference))
        if not gone:
            raise DistributionError(
                ErrorCode.MANIFEST_UNKNOWN, f"manifest unknown: {repository} has no {reference}"
            )

    def referrers(self, repository: str, digest: str, artifact_type: str = "") -> bytes:
        """Return an index of what is about a manifest, whether or not that is here."""
        check_repository(repository)
        found = self._catalog.referrers(repository, check_digest(digest))
        chosen = [r for r in found if artifact_type in {"", r.artifact_type}]
        return msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [_descriptor(referrer) for referrer in chosen],
            }
        )

    # Garbage.

    def collect(self, *, unused_ns: int = HOUR_NS, untagged_ns: int | None = None) -> Collected:
        """Remove what nobody needs, while others push and pull.

        Args:
            unused_ns: How long a blob no manifest needs, or an idle upload, is kept.
            untagged_ns: How long manifests are kept that nothing names; None is for ever.
        """
        now = self._clock.time_ns()
        uploads = self.uploads.end_idle(unused_ns)
        manifests = 0
        if untagged_ns is not None:
            # What an index listed has no name any more once the index is gone.
            for _ in range(_LEVELS_MAX):
                found = self._catalog.untagged_manifests(now - untagged_ns)
                if not found:
                    break
                with self._naming:
                    manifests += sum(self._remove_manifest(*manifest) for manifest in found)
        self._catalog.drop_unreferenced_blobs(now - unused_ns)
        blobs, freed_bytes = self.bytes.collect(self._catalog.blob_digests)
        if self._bucket is not None:
            self._bucket.abandon_uploads(unused_ns / _SECOND_NS)
        return Collected(manifests, blobs, freed_bytes, uploads)

    def _remove_manifest(self, repository: str, digest: str) -> bool:
        # The bucket first: what was cut short here is done again, and nothing comes back that
        # the catalog has forgotten.
        if self._bucket is not None:
            for tag in self._catalog.tags_of(repository, digest):
                self._bucket.delete_tag(repository, tag)
            self._bucket.delete_manifest(repository, digest)
        return self._catalog.remove_manifest(repository, digest)

    def _digest_of(self, repository: str, reference: str) -> str:
        if ":" in reference:
            return check_digest(reference)
        return self.tag_digest(repository, check_tag(reference))

    def _check_complete(self, repository: str, document: Document) -> None:
        missing = [] if self._sparse else self._catalog.missing(repository, document)
        if missing:
            raise DistributionError(
                ErrorCode.MANIFEST_BLOB_UNKNOWN,
                f"{repository} has no {missing[0]}, which the manifest needs: push it first",
            )


def _lost(digest: str) -> DistributionError:
    return DistributionError(ErrorCode.BLOB_UNKNOWN, f"blob {digest} is lost: push it again")


def _descriptor(referrer: Referrer) -> dict[str, object]:
    descriptor: dict[str, object] = {
        "mediaType": referrer.media_type,
        "digest": referrer.digest,
        "size": referrer.size_bytes,
        "artifactType": referrer.artifact_type,
    }
    if referrer.annotations:
        descriptor["annotations"] = referrer.annotations
    return descriptor
