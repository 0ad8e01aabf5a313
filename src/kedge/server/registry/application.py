"""From a request to a registry's answer: who asks, what for, and what comes of it."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from kedge.errdefs import KedgeError
from kedge.oci.digests import is_digest
from kedge.oci.media_types import MANIFEST_MAX_BYTES, OCI_INDEX
from kedge.registry.access import CATALOG, Access, Scope
from kedge.registry.failures import DistributionError, ErrorCode
from kedge.registry.store import RegistryStore
from kedge.server.head import ProtocolError
from kedge.server.registry.answers import (
    VERSION_HEADER,
    error_answer,
    json_answer,
    next_page,
    parse_page,
)
from kedge.server.registry.blobs import Blobs
from kedge.server.registry.metrics import Metrics
from kedge.server.registry.origin import Origin
from kedge.server.registry.paths import Kind, Target, parse_path
from kedge.server.registry.uploads import Uploads
from kedge.server.request import Request
from kedge.server.response import AnyResponse, HijackResponse, Response

_logger: Final = logging.getLogger(__name__)
_READS: Final = frozenset({"GET", "HEAD"})
_ACTIONS: Final = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}
_METHODS: Final = {
    Kind.VERSION: _READS,
    Kind.CATALOG: frozenset({"GET"}),
    Kind.TAGS: frozenset({"GET"}),
    Kind.REFERRERS: frozenset({"GET"}),
    Kind.MANIFEST: _READS | {"PUT", "DELETE"},
    Kind.BLOB: _READS | {"DELETE"},
    Kind.UPLOADS: frozenset({"POST"}),
    Kind.UPLOAD: frozenset({"GET", "PATCH", "PUT", "DELETE"}),
}
_TAGS_MAX: Final = 64
"""How many tags one push may set besides."""


class RegistryApplication:
    """Answers every request of a registry; never raises, except when cancelled."""

    def __init__(
        self,
        store: RegistryStore,
        access: Access,
        metrics: Metrics,
        *,
        read_only: bool = False,
        origin: Origin | None = None,
    ) -> None:
        """Serve ``store`` to whom ``access`` lets in.

        Args:
            store: What is served.
            access: Who may do what.
            metrics: Counts what happens.
            read_only: Refuse everything that changes something.
            origin: Where to get what is asked for and not there.
        """
        self._store = store
        self._access = access
        self._metrics = metrics
        self._uploads = Uploads(store, metrics)
        self._blobs = Blobs(store, metrics, origin)
        self._origin = origin
        self._writable = not read_only and origin is None

    async def __call__(self, request: Request) -> AnyResponse:
        """Return the answer to ``request``."""
        try:
            answer = await self._answer(request)
        except DistributionError as error:
            answer = error_answer(error.code, str(error), headers=error.headers)
        except ProtocolError as error:
            answer = error_answer(ErrorCode.UNKNOWN, error.message, status=error.status)
        except Exception as error:
            _logger.exception("%s %s", request.head.method, request.head.path)
            answer = error_answer(ErrorCode.UNKNOWN, _describe(error))
        if not isinstance(answer, HijackResponse):
            self._metrics.count_request(request.head.method, answer.status)
        return answer

    async def _answer(self, request: Request) -> AnyResponse:
        method, path = request.head.method, request.head.path
        target = parse_path(path)
        if target is None:
            return error_answer(ErrorCode.UNKNOWN, f"no such path: {path[:120]}", status=404)
        header = request.head.headers.get("authorization", "")
        wanted = _wanted(method, target)
        # A password may take its time to check.
        if header:
            await asyncio.to_thread(self._access.authorize, header, wanted)
        else:
            self._access.authorize(header, wanted)
        if method not in _READS and not self._writable:
            raise DistributionError(ErrorCode.UNSUPPORTED, "this registry is read-only")
        return await self._dispatch(request, target)

    async def _dispatch(self, request: Request, target: Target) -> AnyResponse:
        method = request.head.method
        if method in _METHODS[target.kind]:
            match target.kind:
                case Kind.VERSION:
                    return json_answer({})
                case Kind.CATALOG:
                    return self._list_repositories(request)
                case Kind.TAGS:
                    return self._list_tags(request, target)
                case Kind.REFERRERS:
                    return self._list_referrers(request, target)
                case Kind.MANIFEST:
                    return await self._manifest(request, target)
                case Kind.BLOB:
                    return await self._blobs.answer(request, target)
                case Kind.UPLOADS:
                    sources = self._mount_sources(request)
                    return await self._uploads.begin(request, target, sources)
                case Kind.UPLOAD:
                    return await self._uploads.go_on(request, target)
        raise DistributionError(ErrorCode.UNSUPPORTED, f"{method} is not supported there")

    # Lists.

    def _list_repositories(self, request: Request) -> Response:
        limit = parse_page(request.texts("n"))
        names = self._store.repositories(request.text("last"), limit)
        return json_answer({"repositories": names}, next_page("/v2/_catalog", names, limit))

    def _list_tags(self, request: Request, target: Target) -> Response:
        limit = parse_page(request.texts("n"))
        tags = self._store.tags(target.repository, request.text("last"), limit)
        more = next_page(request.head.path, tags, limit)
        return json_answer({"name": target.repository, "tags": tags}, more)

    def _list_referrers(self, request: Request, target: Target) -> Response:
        artifact_type = request.text("artifactType")
        body = self._store.referrers(target.repository, target.reference, artifact_type)
        applied = (("OCI-Filters-Applied", "artifactType"),) if artifact_type else ()
        return Response(200, body, OCI_INDEX, (VERSION_HEADER, *applied))

    # Manifests.

    async def _manifest(self, request: Request, target: Target) -> Response:
        match request.head.method:
            case "PUT":
                return await self._put_manifest(request, target)
            case "DELETE":
                await asyncio.to_thread(
                    self._store.delete_manifest, target.repository, target.reference
                )
                return Response(202, headers=(VERSION_HEADER,))
            case method:
                if self._origin is not None:
                    await self._origin.ensure_manifest(target.repository, target.reference)
                found = self._store.manifest(target.repository, target.reference)
        headers = (
            VERSION_HEADER,
            ("Docker-Content-Digest", found.digest),
            ("Etag", f'"{found.digest}"'),
        )
        if method == "GET":
            self._metrics.count_sent(len(found.data))
        return Response(200, found.data, found.media_type, headers)

    async def _put_manifest(self, request: Request, target: Target) -> Response:
        if request.body.declared > MANIFEST_MAX_BYTES:
            raise _too_large()
        pieces: list[bytes] = []
        size = 0
        async for piece in request.body:
            pieces.append(piece)
            size += len(piece)
            if size > MANIFEST_MAX_BYTES:
                raise _too_large()
        self._metrics.count_received(size)
        tags = request.texts("tag")
        if len(tags) > _TAGS_MAX:
            raise DistributionError(ErrorCode.TAG_INVALID, f"more than {_TAGS_MAX} tags at once")
        pushed = await asyncio.to_thread(
            self._store.put_manifest,
            target.repository,
            target.reference,
            b"".join(pieces),
            content_type=request.head.headers.get("content-type", ""),
            tags=tags,
        )
        subject = (("OCI-Subject", pushed.subject),) if pushed.subject else ()
        return Response(
            201,
            headers=(
                VERSION_HEADER,
                ("Location", f"/v2/{target.repository}/manifests/{pushed.digest}"),
                ("Docker-Content-Digest", pushed.digest),
                *subject,
                *(("OCI-Tag", tag) for tag in pushed.tags),
            ),
        )

    def _mount_sources(self, request: Request) -> list[str]:
        """Return whence the client may mount the blob it names, the one it asks for first."""
        mount = request.text("mount")
        if not mount or not is_digest(mount):
            return []
        named = request.text("from")
        header = request.head.headers.get("authorization", "")
        sources = [named] if named else self._store.blob_sources(mount)
        return [name for name in sources if self._may_pull(header, name)]

    def _may_pull(self, header: str, repository: str) -> bool:
        try:
            self._access.authorize(header, [Scope("repository", repository, "pull")])
        except DistributionError:
            return False
        return True


def _wanted(method: str, target: Target) -> Sequence[Scope]:
    """Return what a request is about to do."""
    match target.kind:
        case Kind.VERSION:
            return ()
        case Kind.CATALOG:
            return (CATALOG,)
        case Kind.UPLOAD | Kind.UPLOADS:
            actions: tuple[str, ...] = ("pull", "push")
        case _:
            action = _ACTIONS.get(method, "push")
            actions = ("pull", "push") if action == "push" else (action,)
    return tuple(Scope("repository", target.repository, action) for action in actions)


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, KedgeError) else "internal error: see the log"


def _too_large() -> DistributionError:
    return DistributionError(
        ErrorCode.SIZE_INVALID, f"manifest larger than {MANIFEST_MAX_BYTES} bytes"
    )
