"""Where images can be copied from and to: a repository of a registry, or an OCI layout on disk.

Both hold documents (manifests, indexes) and blobs by digest, and names for some documents. What is
read is verified against its digest; what is written appears whole or not at all.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Final, NamedTuple, Protocol

from kedge.distribution.client import RepositoryClient
from kedge.distribution.failures import (
    ConnectionFailedError,
    RegistryRefusedError,
    load_json,
)
from kedge.distribution.publishing import put_manifest
from kedge.distribution.upload import Source, ensure_blob, has_blob, not_watched
from kedge.errdefs import DataLossError, InvalidParameterError, NotFoundError
from kedge.lib.atomicfile import write_atomic
from kedge.oci import media_types
from kedge.oci.digests import encoded_part, is_digest
from kedge.oci.hashing import has_digest, new_hash
from kedge.oci.image_spec import Descriptor, Index, encode_document, parse_index, sniff_media_type

_REF_NAME: Final = "org.opencontainers.image.ref.name"
_CHUNK: Final = 1 << 18
_NO_REFERRERS: Final = frozenset({404, 405, 501})


class Document(NamedTuple):
    """A manifest or index and its bytes."""

    media_type: str
    digest: str
    data: bytes


class Place(Protocol):
    """Somewhere images are."""

    def document(self, name: str) -> Document:
        """Return the document of a digest; of the place's own name where ``name`` is empty."""
        ...

    def has_blob(self, digest: str) -> bool:
        """Tell whether a blob is there."""
        ...

    def fetch(self, blob: Descriptor, into: BinaryIO) -> None:
        """Write a blob's bytes to an empty file, verified."""
        ...

    def store(self, blob: Descriptor, data: BinaryIO) -> None:
        """Keep a blob whose verified bytes ``data`` has."""
        ...

    def put(self, document: Document, *, named: bool) -> None:
        """Keep a document, under the place's own name if ``named``."""
        ...

    def referrers(self, digest: str) -> list[Descriptor]:
        """Return what says that it is about ``digest``: signatures, attestations and such."""
        ...


class RegistryPlace:
    """One name in a repository."""

    def __init__(self, client: RepositoryClient, name: str) -> None:
        """Read and write through ``client``; ``name`` is the tag or digest."""
        self.client = client
        self._name = name

    def document(self, name: str) -> Document:
        """Return a document."""
        found = self.client.manifest(name or self._name)
        media_type = sniff_media_type(found.data)
        known = found.media_type in media_types.INDEXES | media_types.MANIFESTS
        if known and media_type != found.media_type:
            raise DataLossError(
                f"manifest {found.digest} says it is {media_type}, but the registry says"
                f" {found.media_type}"
            )
        return Document(media_type, found.digest, found.data)

    def has_blob(self, digest: str) -> bool:
        """Tell whether the repository has a blob."""
        return self.client.new_retries().run(lambda: has_blob(self.client, digest))

    def fetch(self, blob: Descriptor, into: BinaryIO) -> None:
        """Download a blob, going on where the connection breaks."""
        retries = self.client.new_retries()
        hashed = new_hash(blob.digest.partition(":")[0])
        offset = 0
        while offset < blob.size:
            before = offset
            try:
                answer, start = self.client.open_blob(blob.digest, offset)
                with answer:
                    if start != offset:
                        offset = 0
                        into.seek(0)
                        into.truncate()
                        hashed = new_hash(blob.digest.partition(":")[0])
                    for chunk in answer.chunks():
                        offset += len(chunk)
                        if offset > blob.size:
                            raise DataLossError(
                                f"{blob.digest} is longer than the {blob.size} bytes announced"
                            )
                        into.write(chunk)
                        hashed.update(chunk)
                if offset < blob.size:
                    raise ConnectionFailedError(  # noqa: TRY301 - a short body is a broken one
                        f"registry {self.client.endpoint.address} sent only {offset} of"
                        f" {blob.size} bytes of {blob.digest}",
                        may_retry=True,
                    )
            except (ConnectionFailedError, RegistryRefusedError) as error:
                if offset > before:
                    retries.progressed()
                retries.failed(error)
        if f"{blob.digest.partition(':')[0]}:{hashed.hexdigest()}" != blob.digest:
            raise DataLossError(f"the bytes of blob {blob.digest} do not match its digest")

    def store(self, blob: Descriptor, data: BinaryIO) -> None:
        """Upload a blob."""

        def open_again() -> BinaryIO:
            return open(f"/proc/self/fd/{data.fileno()}", "rb")

        data.flush()
        ensure_blob(self.client, blob, Source(open_again, not_watched))

    def put(self, document: Document, *, named: bool) -> None:
        """Store a document."""
        tag = self._name if named and not is_digest(self._name) else ""
        put_manifest(self.client, document, tag)

    def referrers(self, digest: str) -> list[Descriptor]:
        """Ask the referrers API, or the tag that stands for it in older registries."""
        path = f"{self.client.repository}/referrers/{digest}"
        try:
            with self.client.exchange.send(
                "GET", path, {"accept": media_types.OCI_INDEX}
            ) as answer:
                return parse_index(answer.read(media_types.MANIFEST_MAX_BYTES)).manifests
        except RegistryRefusedError as error:
            if error.problem.status not in _NO_REFERRERS:
                raise
        try:
            return parse_index(self.client.manifest(digest.replace(":", "-")).data).manifests
        except RegistryRefusedError as error:
            if error.problem.status != 404:
                raise
            return []


class LayoutPlace:
    """One name in an OCI image layout, which is made where it does not exist."""

    def __init__(self, directory: str, name: str) -> None:
        """Use ``directory``; ``name`` is a ref name, a digest or empty for the only image."""
        self._directory = directory
        self._name = name

    def document(self, name: str) -> Document:
        """Return a document."""
        digest = name or self._named_digest()
        data = self._read(digest)
        return Document(sniff_media_type(data), digest, data)

    def has_blob(self, digest: str) -> bool:
        """Tell whether the layout has a blob."""
        return is_digest(digest) and os.path.exists(self._path(digest))

    def fetch(self, blob: Descriptor, into: BinaryIO) -> None:
        """Copy a blob out."""
        hashed = new_hash(blob.digest.partition(":")[0])
        try:
            with open(self._path(blob.digest), "rb") as stream:
                for chunk in _chunks(stream):
                    hashed.update(chunk)
                    into.write(chunk)
        except FileNotFoundError:
            raise NotFoundError(f"{self._directory} has no blob {blob.digest}") from None
        if f"{blob.digest.partition(':')[0]}:{hashed.hexdigest()}" != blob.digest:
            raise DataLossError(f"blob {blob.digest} in {self._directory} is damaged")

    def store(self, blob: Descriptor, data: BinaryIO) -> None:
        """Keep a blob."""
        data.seek(0)
        self._write(blob.digest, _chunks(data))

    def put(self, document: Document, *, named: bool) -> None:
        """Keep a document; a name that another one has moves to it."""
        self._write(document.digest, iter((document.data,)))
        if not named:
            return
        name = "" if is_digest(self._name) else self._name
        entry = Descriptor(
            document.media_type,
            document.digest,
            len(document.data),
            annotations={_REF_NAME: name} if name else {},
        )
        kept = [
            other
            for other in self._index().manifests
            if other.annotations.get(_REF_NAME, "") != name
            or (not name and other.digest != entry.digest)
        ]
        index = Index(schema_version=2, media_type=media_types.OCI_INDEX, manifests=[*kept, entry])
        write_atomic(os.path.join(self._directory, "oci-layout"), b'{"imageLayoutVersion":"1.0.0"}')
        write_atomic(os.path.join(self._directory, "index.json"), encode_document(index))

    def referrers(self, digest: str) -> list[Descriptor]:
        """Return the documents of the index whose subject is ``digest``."""
        found: list[Descriptor] = []
        for entry in self._index().manifests:
            document = load_json(self._read(entry.digest))
            subject = document.get("subject") if isinstance(document, dict) else None
            if isinstance(subject, dict) and subject.get("digest") == digest:
                found.append(entry)
        return found

    def _named_digest(self) -> str:
        if is_digest(self._name):
            return self._name
        entries = self._index().manifests
        if not self._name:
            if len(entries) == 1:
                return entries[0].digest
            raise InvalidParameterError(
                f"{self._directory} has {len(entries)} images: name one, oci:DIR:NAME"
            )
        for entry in entries:
            if entry.annotations.get(_REF_NAME) == self._name:
                return entry.digest
        names = ", ".join(e.annotations.get(_REF_NAME, e.digest) for e in entries) or "nothing"
        raise NotFoundError(f"{self._directory} has no image {self._name}, only {names}")

    def _index(self) -> Index:
        try:
            with open(os.path.join(self._directory, "index.json"), "rb") as stream:
                return parse_index(stream.read())
        except (FileNotFoundError, NotADirectoryError):
            return Index(schema_version=2, manifests=[])

    def _read(self, digest: str) -> bytes:
        try:
            with open(self._path(digest), "rb") as stream:
                data = stream.read(media_types.MANIFEST_MAX_BYTES + 1)
        except FileNotFoundError:
            raise NotFoundError(f"{self._directory} has no manifest {digest}") from None
        if not has_digest(data, digest):
            raise DataLossError(f"manifest {digest} in {self._directory} is damaged")
        return data

    def _write(self, digest: str, chunks: Iterator[bytes]) -> None:
        path = self._path(digest)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.writelines(chunks)
                os.fchmod(stream.fileno(), 0o644)
            os.rename(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def _path(self, digest: str) -> str:
        algorithm = digest.partition(":")[0]
        return os.path.join(self._directory, "blobs", algorithm, encoded_part(digest))


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk
