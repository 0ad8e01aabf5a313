"""The registry's use cases on what it stores: blobs in and out, manifests, tags, referrers.

Synchronous and thread-safe. Blobs are shared by all repositories and given out only through one
that has them. A blob is leased from before it is looked for until its record is written, so
that collecting garbage beside pushes never removes what somebody is about to name.
"""

import os
from collections.abc import Sequence
from typing import BinaryIO, Final, NamedTuple

import msgspec

from kedge.content.store import ContentStore
from kedge.errdefs import DataLossError, NotFoundError
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.oci.digests import is_digest
from kedge.oci.hashing import has_digest, sha256_digest
from kedge.oci.media_types import MANIFEST_MAX_BYTES, OCI_INDEX
from kedge.oci.references import is_repository, is_tag
from kedge.registry.catalog import Catalog, Referrer, StoredBlob, StoredManifest, remove_all
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

    def __init__(self, root: str, *, clock: Clock = SYSTEM_CLOCK, sparse: bool = False) -> None:
        """Open or create the registry at ``root``.

        Args:
            root: Its directory, made where it is missing.
            clock: Tells the time.
            sparse: Take manifests whose blobs were not pushed.
        """
        os.makedirs(root, mode=0o700, exist_ok=True)
        self._clock = clock
        self._sparse = sparse
        self.content = ContentStore(os.path.join(root, "content"))
        self._catalog = Catalog(os.path.join(root, "registry.db"))
        self.uploads = UploadSessions(self.content, clock)

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

    def open_blob(self, repository: str, digest: str) -> tuple[BinaryIO, int]:
        """Open a blob for reading; return it with its size.

        Raises:
            DistributionError: The repository has no such blob, or it is lost.
        """
        size_bytes = self.blob(repository, digest).size_bytes
        try:
            return self.content.open(digest), size_bytes
        except NotFoundError as error:
            raise DistributionError(
                ErrorCode.BLOB_UNKNOWN, f"blob {digest} is lost: push it again"
            ) from error

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
        with self.content.lease() as lease:
            lease.add(digest)
            if found is None or not self.content.exists(digest):
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
            with self.content.lease() as lease:
                lease.add(digest)
                upload.writer.commit(digest)
                self._catalog.add_blob(upload.repository, digest, size, self._clock.time_ns())
        except DataLossError as error:
            raise DistributionError(
                ErrorCode.DIGEST_INVALID,
                f"the bytes uploaded do not match {digest}: upload them again",
            ) from error
        finally:
            self.uploads.end(upload)

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
        digest = _check_reference(reference, data, tags)
        names = (*(() if is_digest(reference) else (reference,)), *tags)
        known = self._catalog.manifest(repository, digest)
        if known is not None and known.media_type != document.media_type:
            raise DistributionError(
                ErrorCode.MANIFEST_INVALID,
                f"manifest invalid: {digest} is known as {known.media_type} here",
            )
        now = self._clock.time_ns()
        with self._catalog.transaction():
            # Inside the transaction, so that nothing it needs is collected in between.
            self._check_complete(repository, document)
            self._catalog.add_manifest(repository, digest, document, data, now)
            for name in names:
                self._catalog.set_tag(repository, name, digest, now)
        return Pushed(digest, document.subject, tuple(tags))

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Remove a tag, or a manifest with all its tags.

        Raises:
            DistributionError: There is none.
        """
        check_repository(repository)
        if is_digest(reference):
            gone = self._catalog.remove_manifest(repository, reference)
        else:
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
                manifests += remove_all(self._catalog, found)
        self._catalog.drop_unreferenced_blobs(now - unused_ns)
        freed = self.content.collect(self._catalog.blob_digests)
        return Collected(manifests, len(freed.digests), freed.freed_bytes, uploads)

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


def check_repository(repository: str) -> str:
    """Return the name of a repository.

    Raises:
        DistributionError: It cannot be one.
    """
    if not is_repository(repository):
        raise DistributionError(
            ErrorCode.NAME_INVALID, f"invalid repository name: {repository[:80]}"
        )
    return repository


def check_tag(tag: str) -> str:
    """Return a tag.

    Raises:
        DistributionError: It cannot be one.
    """
    if not is_tag(tag):
        raise DistributionError(ErrorCode.TAG_INVALID, f"invalid tag: {tag[:80]}")
    return tag


def check_digest(digest: str) -> str:
    """Return a digest.

    Raises:
        DistributionError: It is none, or of an unknown algorithm.
    """
    if not is_digest(digest):
        raise DistributionError(ErrorCode.DIGEST_INVALID, f"invalid digest: {digest[:140]}")
    return digest


def _check_reference(reference: str, data: bytes, tags: Sequence[str]) -> str:
    """Return the digest of a manifest that is pushed as ``reference``."""
    for tag in tags:
        check_tag(tag)
    if ":" not in reference:
        check_tag(reference)
        return sha256_digest(data)
    if not has_digest(data, check_digest(reference)):
        raise DistributionError(
            ErrorCode.DIGEST_INVALID, f"the manifest's bytes do not match {reference}"
        )
    return reference


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
