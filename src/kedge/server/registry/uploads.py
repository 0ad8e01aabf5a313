"""Blobs that clients push: in one request, in chunks, as a stream, or mounted from elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from kedge.oci.digests import HEX_LENGTHS
from kedge.registry.checks import check_digest, check_repository
from kedge.registry.failures import DistributionError, ErrorCode
from kedge.registry.store import RegistryStore
from kedge.registry.uploads import Upload
from kedge.server.head import ProtocolError
from kedge.server.registry.answers import VERSION_HEADER, parse_chunk_start
from kedge.server.registry.metrics import Metrics
from kedge.server.registry.paths import Target
from kedge.server.request import Request
from kedge.server.response import NO_CONTENT, Response

_BATCH_BYTES: Final = 1 << 20
_STALL_S: Final = 120.0
"""How long a client may send nothing in the middle of a body."""


class Uploads:
    """Answers what is about uploads."""

    def __init__(self, store: RegistryStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    async def begin(self, request: Request, target: Target, mount_from: list[str]) -> Response:
        """Answer ``POST``: begin a session, take a whole blob, or mount one.

        Args:
            request: With ``digest`` for a whole blob, ``mount`` for a mount.
            target: Whose repository it is.
            mount_from: Repositories the client may mount from.
        """
        repository = check_repository(target.repository)
        mount = request.text("mount")
        if mount:
            for source in mount_from:
                if await asyncio.to_thread(self._store.mount, repository, mount, source):
                    return _created(repository, mount)
        digest = request.text("digest")
        if digest:
            check_digest(digest)
        _check_algorithm(request.text("digest-algorithm"))
        upload = self._store.uploads.begin(repository)
        if not digest:
            self._store.uploads.release(upload)
            return _accepted(upload)
        try:
            await self._receive(request, upload)
            await asyncio.to_thread(self._store.publish, upload, digest)
        finally:
            # The address of the session was never told.
            self._store.uploads.end(upload)
        return _created(repository, digest)

    async def go_on(self, request: Request, target: Target) -> Response:
        """Answer what is about a session that has begun."""
        match request.head.method:
            case "PATCH":
                return await self._append(request, target)
            case "PUT":
                return await self._end(request, target)
            case "DELETE":
                return self._cancel(target)
            case _:
                return self._status(target)

    async def _append(self, request: Request, target: Target) -> Response:
        upload = self._store.uploads.hold(target.repository, target.reference)
        try:
            await self._take_chunk(request, upload)
            return _accepted(upload)
        finally:
            self._store.uploads.release(upload)

    async def _end(self, request: Request, target: Target) -> Response:
        digest = check_digest(request.text("digest"))
        upload = self._store.uploads.hold(target.repository, target.reference)
        try:
            await self._take_chunk(request, upload)
            await asyncio.to_thread(self._store.publish, upload, digest)
        finally:
            self._store.uploads.release(upload)
        return _created(target.repository, digest)

    def _status(self, target: Target) -> Response:
        offset = self._store.uploads.offset(target.repository, target.reference)
        return Response(204, headers=_session_headers(target.repository, target.reference, offset))

    def _cancel(self, target: Target) -> Response:
        upload = self._store.uploads.hold(target.repository, target.reference)
        self._store.uploads.end(upload)
        return NO_CONTENT

    async def _take_chunk(self, request: Request, upload: Upload) -> None:
        chunk = parse_chunk_start(request.head.headers.get("content-range", ""))
        if chunk is not None and chunk[0] != upload.offset:
            raise DistributionError(
                ErrorCode.RANGE_INVALID,
                f"the chunk begins at {chunk[0]}, but {upload.offset} bytes have come in",
                _session_headers(upload.repository, upload.upload_id, upload.offset),
            )
        declared = request.body.declared
        if chunk is not None and declared >= 0 and declared != chunk[1] - chunk[0] + 1:
            raise DistributionError(
                ErrorCode.BLOB_UPLOAD_INVALID,
                "Content-Range and Content-Length name different lengths",
            )
        await self._receive(request, upload)

    async def _receive(self, request: Request, upload: Upload) -> None:
        async for batch in _batches(request):
            await asyncio.to_thread(upload.writer.write, batch)
            self._metrics.count_received(len(batch))


async def _batches(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in pieces that are worth a thread's while.

    What came before the client stalled or broke off is yielded before the failure is raised, so
    that an upload goes on where it stopped.
    """
    pieces: list[bytes] = []
    size = 0
    failure: Exception | None = None
    body = aiter(request.body)
    while True:
        try:
            async with asyncio.timeout(_STALL_S):
                piece = await anext(body, None)
        except TimeoutError:
            failure = DistributionError(
                ErrorCode.BLOB_UPLOAD_INVALID, f"nothing came for {_STALL_S:.0f} s: go on later"
            )
            break
        except ProtocolError as error:
            failure = error
            break
        if piece is None:
            break
        pieces.append(piece)
        size += len(piece)
        if size >= _BATCH_BYTES:
            yield b"".join(pieces)
            pieces.clear()
            size = 0
    if pieces:
        yield b"".join(pieces)
    if failure is not None:
        raise failure


def _check_algorithm(algorithm: str) -> None:
    if algorithm and algorithm not in HEX_LENGTHS:
        raise DistributionError(
            ErrorCode.DIGEST_INVALID, f"unknown digest algorithm: {algorithm[:40]}"
        )


def _created(repository: str, digest: str) -> Response:
    return Response(
        201,
        headers=(
            VERSION_HEADER,
            ("Location", f"/v2/{repository}/blobs/{digest}"),
            ("Docker-Content-Digest", digest),
        ),
    )


def _accepted(upload: Upload) -> Response:
    return Response(
        202, headers=_session_headers(upload.repository, upload.upload_id, upload.offset)
    )


def _session_headers(repository: str, upload_id: str, offset: int) -> tuple[tuple[str, str], ...]:
    return (
        VERSION_HEADER,
        ("Location", f"/v2/{repository}/blobs/uploads/{upload_id}"),
        ("Docker-Upload-UUID", upload_id),
        # The last byte, not the length: nothing yet is also "0-0", as other registries say it.
        ("Range", f"0-{max(offset - 1, 0)}"),
    )
