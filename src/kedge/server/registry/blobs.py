"""Blobs that clients get: from a file, from the origin of a cache, or from a bucket."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

from kedge.registry.blobs import LocalBlob, OpenedBlob, RemoteBlob
from kedge.registry.failures import DistributionError, ErrorCode
from kedge.registry.store import RegistryStore
from kedge.server.registry.answers import (
    VERSION_HEADER,
    ByteRange,
    blob_headers,
    parse_range,
)
from kedge.server.registry.metrics import Metrics
from kedge.server.registry.origin import Origin
from kedge.server.registry.paths import Target
from kedge.server.request import Request
from kedge.server.response import AnyResponse, FileResponse, Response, StreamResponse

_OCTETS: Final = "application/octet-stream"


class Blobs:
    """Answers what is about blobs that are there."""

    def __init__(self, store: RegistryStore, metrics: Metrics, origin: Origin | None) -> None:
        self._store = store
        self._metrics = metrics
        self._origin = origin

    async def answer(self, request: Request, target: Target) -> AnyResponse:
        """Answer ``GET``, ``HEAD`` and ``DELETE``."""
        repository, digest = target.repository, target.reference
        if request.head.method == "DELETE":
            await asyncio.to_thread(self._store.delete_blob, repository, digest)
            return Response(202, headers=(VERSION_HEADER, ("Docker-Content-Digest", digest)))
        opened = await self._open(request, target)
        if isinstance(opened, StreamResponse):
            return opened
        try:
            return await self._give(request, digest, opened)
        except BaseException:
            if isinstance(opened, LocalBlob):
                opened.file.close()
            raise

    async def _open(self, request: Request, target: Target) -> OpenedBlob | StreamResponse:
        """Return a blob that is here, or the answer that brings it in."""
        repository, digest = target.repository, target.reference
        streamed = await self._from_origin(request, target)
        if streamed is not None:
            return streamed
        try:
            if self._store.is_stale(self._store.blob(repository, digest)):
                await asyncio.to_thread(self._store.note_interest, repository, digest)
            return self._store.open_blob(repository, digest)
        except DistributionError:
            # A cache may have made room at this very moment.
            streamed = await self._from_origin(request, target)
            if streamed is None:
                raise
            return streamed

    async def _from_origin(self, request: Request, target: Target) -> StreamResponse | None:
        if self._origin is None:
            return None
        return await self._origin.stream_blob(
            target.repository, target.reference, head_only=request.head.method == "HEAD"
        )

    async def _give(self, request: Request, digest: str, blob: OpenedBlob) -> AnyResponse:
        if isinstance(blob, RemoteBlob) and blob.address and request.head.method == "GET":
            # Ranges are the bucket's business then.
            return Response(307, headers=(VERSION_HEADER, ("Location", blob.address)))
        found = parse_range(request.head.headers.get("range", ""), blob.size_bytes)
        part = found or ByteRange(0, blob.size_bytes)
        headers, status = blob_headers(digest), 200
        if found is not None:
            last = found.offset + found.length - 1
            span = f"bytes {found.offset}-{last}/{blob.size_bytes}"
            headers, status = (*headers, ("Content-Range", span)), 206
        if request.head.method == "GET":
            self._metrics.count_sent(part.length)
        if isinstance(blob, LocalBlob):
            return FileResponse(blob.file, part.offset, part.length, _OCTETS, status, headers)
        chunks: Iterator[bytes] = iter(())
        if request.head.method == "GET":
            chunks = await asyncio.to_thread(
                self._store.remote_chunks, digest, part.offset, part.length
            )
        pieces = _pieces(chunks, part.length)
        return StreamResponse(pieces, _OCTETS, status, headers, length=part.length)


async def _pieces(chunks: Iterator[bytes], length: int) -> AsyncIterator[bytes]:
    """Yield what ``chunks`` yields, each got in a thread; a short one is a failure."""
    sent = 0
    while piece := await asyncio.to_thread(next, chunks, b""):
        sent += len(piece)
        yield piece
    if sent != length:
        raise DistributionError(
            ErrorCode.UNAVAILABLE, f"the bucket sent {sent} of {length} bytes of a blob"
        )
