"""Folders of the client's that hold OCI content: local caches, and layouts as named contexts.

The client serves each as containerd's content service, chosen by the id it gave the folder. It
keeps the folder's ``index.json`` itself: what is written here are blobs, and the client is told the
digest of the document among them.
"""

import io
import tarfile
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from kedge.api.buildcaches import BuildCacheSpec
from kedge.builder.buildkit.messages import (
    CONTENT_PIECE,
    CONTENT_READ,
    CONTENT_WRITE,
    CONTENT_WRITTEN,
    EMPTY,
)
from kedge.builder.buildkit.rpc import stream_call
from kedge.builder.buildkit.session import Session
from kedge.builder.buildkit.wire import Record, Schema, blob
from kedge.distribution.places import Document
from kedge.errdefs import DataLossError, InvalidParameterError, NotFoundError, UnavailableError
from kedge.images.saving import LAYOUT, blob_path
from kedge.lib.ids import new_id
from kedge.oci import media_types
from kedge.oci.digests import is_digest
from kedge.oci.hashing import has_digest, new_hash
from kedge.oci.image_spec import (
    Descriptor,
    Index,
    encode_document,
    parse_index,
    parse_manifest,
    sniff_media_type,
)
from kedge.oci.platforms import Platform, best_match

if TYPE_CHECKING:
    from grpclib.client import Stream

_INFO: Final = "/containerd.services.content.v1.Content/Info"
_READ: Final = "/containerd.services.content.v1.Content/Read"
_WRITE: Final = "/containerd.services.content.v1.Content/Write"
_STORE: Final = "buildkit-attachable-store-id"
_LOCAL: Final = "local:"
_LAYOUT: Final = "oci:"
_EXPORT: Final = "export"
_WRITE_ACTION: Final = 1
_COMMIT_ACTION: Final = 2
_PIECE: Final = 1 << 20

Check = Callable[[], None]


class SessionStore:
    """One folder of the client's, used from a build's thread; satisfies ``CachePlace``."""

    def __init__(self, session: Session, store: str, digest: str, check: Check) -> None:
        """Read and write the folder ``store``; ``digest`` is its document that is meant."""
        self._session = session
        self._store = store
        self._digest = digest
        self._check = check

    def document(self, name: str) -> Document:
        """Return a document, the one that is meant for no name.

        Raises:
            NotFoundError: The folder does not have it.
            DataLossError: It is damaged.
        """
        digest = name or self._digest
        data = b"".join(self._pieces(digest, media_types.MANIFEST_MAX_BYTES))
        if not has_digest(data, digest):
            raise DataLossError(f"manifest {digest} of the client's folder is damaged")
        return Document(sniff_media_type(data), digest, data)

    def fetch(self, blob: Descriptor, into: BinaryIO) -> None:
        """Write a blob's bytes to a file, verified."""
        algorithm = blob.digest.partition(":")[0]
        hashed = new_hash(algorithm)
        for piece in self._pieces(blob.digest, blob.size):
            hashed.update(piece)
            into.write(piece)
        if f"{algorithm}:{hashed.hexdigest()}" != blob.digest:
            raise DataLossError(f"blob {blob.digest} of the client's folder is damaged")

    def store(self, blob: Descriptor, pieces: Iterable[bytes]) -> None:
        """Keep a blob in the folder, unless it is there.

        Raises:
            UnavailableError: The client has gone, or cannot write it.
        """
        # A client that has it already ends the call so that grpclib cannot tell why.
        if self._has(blob.digest):
            return
        about: Record = {"ref": f"kedge-{new_id()}", "total": blob.size, "expected": blob.digest}
        with self._call(_WRITE, CONTENT_WRITE, CONTENT_WRITTEN) as stream:
            offset = 0
            for piece in pieces:
                action: Record = {"action": _WRITE_ACTION, "offset": offset, "data": piece}
                self._ask(stream, {**about, **action})
                offset += len(piece)
            commit: Record = {"action": _COMMIT_ACTION, "offset": offset}
            self._ask(stream, {**about, **commit}, is_last=True)

    def _has(self, digest: str) -> bool:
        try:
            with self._call(_INFO, CONTENT_READ, EMPTY) as stream:
                self._ask(stream, {"digest": digest}, is_last=True)
        except NotFoundError:
            return False
        return True

    def _ask(
        self, stream: "Stream[Record, Record]", message: Record, *, is_last: bool = False
    ) -> None:
        self._session.wait(stream.send_message(message, end=is_last), self._check)
        if self._session.wait(stream.recv_message(), self._check) is None:
            self._session.wait(stream.recv_trailing_metadata(), self._check)
            raise UnavailableError("the client ended before it had the whole blob")

    def _pieces(self, digest: str, most: int) -> Iterator[bytes]:
        read = 0
        with self._call(_READ, CONTENT_READ, CONTENT_PIECE) as stream:
            asked = stream.send_message({"digest": digest}, end=True)
            self._session.wait(asked, self._check)
            while (message := self._session.wait(stream.recv_message(), self._check)) is not None:
                piece = blob(message, "data")
                read += len(piece)
                if read > most:
                    raise DataLossError(f"{digest} of the client's folder is larger than it says")
                yield piece

    @contextmanager
    def _call(
        self, path: str, request: Schema, reply: Schema
    ) -> Generator["Stream[Record, Record]", None, None]:
        method = stream_call(self._session.channel, path, request, reply)
        opened = method.open(metadata=[(_STORE, self._store)])
        try:
            stream = self._session.wait(opened.__aenter__(), self._check)
            try:
                yield stream
            except BaseException as error:
                # Resets the call where it still goes on, and finds out why the client ended it.
                self._session.wait(opened.__aexit__(type(error), error, None), _nothing)
                raise
            self._session.wait(opened.__aexit__(None, None, None), self._check)
        except GRPCError as error:
            if error.status is Status.NOT_FOUND:
                raise NotFoundError(f"the client's folder: {error.message}") from error
            raise UnavailableError(f"the client failed: {error.message}") from error
        except (StreamTerminatedError, ProtocolError, ConnectionError) as error:
            raise UnavailableError("the client of the build has gone") from error


class SessionStores:
    """Satisfies the builder's ``ClientStores`` with the folders of one client."""

    def __init__(self, session: Session, check: Check) -> None:
        """Find them in ``session``."""
        self._session = session
        self._check = check

    def open_cache(self, spec: BuildCacheSpec) -> SessionStore:
        """Return a local cache to read."""
        if not is_digest(spec.digest):
            raise InvalidParameterError(f"local cache {spec.place}: the client named no digest")
        return SessionStore(self._session, f"{_LOCAL}{spec.place}", spec.digest, self._check)

    def write_cache(
        self, spec: BuildCacheSpec, blobs: Iterable[tuple[Descriptor, Iterable[bytes]]]
    ) -> None:
        """Write the blobs of a cache."""
        self._write(f"{_LOCAL}{spec.place}", blobs)

    def write_image(self, blobs: Iterable[tuple[Descriptor, Iterable[bytes]]]) -> None:
        """Write the blobs of the one image that goes to a folder."""
        self._write(_EXPORT, blobs)

    def _write(self, name: str, blobs: Iterable[tuple[Descriptor, Iterable[bytes]]]) -> None:
        store = SessionStore(self._session, name, "", self._check)
        for described, pieces in blobs:
            store.store(described, pieces)


@contextmanager
def layout_archive(
    session: Session, place: str, platform: Platform, *, scratch: str, check: Check
) -> Generator[BinaryIO, None, None]:
    """Yield an image of a client's OCI layout as the archive of a layout with nothing else.

    Args:
        session: The client.
        place: ``STORE[:TAG]@DIGEST`` as the client names it.
        platform: Which image, where the layout has several.
        scratch: A folder with room for it.
        check: Raises when the build is cancelled.

    Raises:
        InvalidParameterError: No digest is named.
        NotFoundError: There is no such image.
    """
    store, _, digest = place.partition("@")
    if not is_digest(digest):
        raise InvalidParameterError(f"OCI layout {place}: the client named no digest")
    source = SessionStore(session, f"{_LAYOUT}{store.partition(':')[0]}", digest, check)
    document = _image_of(source, platform)
    with tempfile.TemporaryFile(dir=scratch) as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            named = Descriptor(document.media_type, document.digest, len(document.data))
            index = Index(schema_version=2, media_type=media_types.OCI_INDEX, manifests=[named])
            _add(archive, "oci-layout", LAYOUT)
            _add(archive, "index.json", encode_document(index))
            _add(archive, blob_path(document.digest), document.data)
            manifest = parse_manifest(document.data)
            seen: set[str] = set()
            for each in (manifest.config, *manifest.layers):
                if each.digest not in seen:
                    seen.add(each.digest)
                    _add_blob(archive, source, each, scratch)
        file.seek(0)
        yield file


def _image_of(source: SessionStore, platform: Platform) -> Document:
    document = source.document("")
    if document.media_type not in media_types.INDEXES:
        return document
    images = [
        each
        for each in parse_index(document.data).manifests
        if each.media_type in media_types.MANIFESTS
    ]
    best = best_match(platform, [each.image_platform() or Platform("", "") for each in images])
    if best is None:
        raise NotFoundError(f"the OCI layout has no image for {platform}")
    return source.document(images[best].digest)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _add_blob(
    archive: tarfile.TarFile, source: SessionStore, blob: Descriptor, scratch: str
) -> None:
    with tempfile.TemporaryFile(dir=scratch) as spool:
        source.fetch(blob, spool)
        member = tarfile.TarInfo(blob_path(blob.digest))
        member.size = spool.tell()
        spool.seek(0)
        archive.addfile(member, spool)


def _nothing() -> None:
    pass
