"""Images as tar streams: save, load; images from containers: commit."""

from collections.abc import Mapping

from kedge.api.options import CommitOptions, ImportOptions
from kedge.api.types.config import ContainerConfig
from kedge.api.types.image import LayerDigests
from kedge.api.versions import ApiVersion
from kedge.errdefs import InvalidParameterError
from kedge.server.backends import ImageArchiveBackend
from kedge.server.request import Request
from kedge.server.response import Response, StreamResponse, json_response
from kedge.server.router import Handler
from kedge.server.routers.container_files import TAR
from kedge.server.routers.platforms import platform_of
from kedge.server.routers.progress import progress_response

_WITH_PLATFORM = ApiVersion(1, 48)


class ImageArchiveRouter:
    """Handlers for archives of images."""

    def __init__(self, backend: ImageArchiveBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "ImageGet": self.save_one,
            "ImageGetAll": self.save,
            "ImageLoad": self.load,
            "KedgeImageLayers": self.layers,
            "KedgeImageLayersMissing": self.missing_layers,
            "ImageCommit": self.commit,
        }

    async def save_one(self, request: Request) -> StreamResponse:
        """Stream one image."""
        return await self._save(request, [request.name])

    async def save(self, request: Request) -> StreamResponse:
        """Stream several images."""
        return await self._save(request, request.texts("names"))

    async def _save(self, request: Request, names: list[str]) -> StreamResponse:
        # compat: since and without are kedge's own.
        chunks = await self._backend.save(
            names,
            platform=platform_of(request, since=_WITH_PLATFORM),
            since=request.texts("since"),
            without=request.texts("without"),
        )
        return StreamResponse(chunks, TAR)

    async def layers(self, request: Request) -> Response:
        """List the layers of an image."""
        return json_response(list(await self._backend.layers(request.name)))

    async def missing_layers(self, request: Request) -> Response:
        """Say which of some layers are not here."""
        asked = await request.json(LayerDigests, required=True)
        return json_response(LayerDigests(list(await self._backend.missing_layers(asked.digests))))

    async def load(self, request: Request) -> StreamResponse:
        """Take up the images of the body."""
        messages = await self._backend.load(
            aiter(request.body),
            quiet=request.flag("quiet"),
            platform=platform_of(request, since=_WITH_PLATFORM),
        )
        return await progress_response(messages)

    async def commit(self, request: Request) -> Response:
        """Make an image of a container."""
        container = request.text("container")
        if not container:
            raise InvalidParameterError("no container to commit: give container")
        config = None
        if not request.body.is_empty:
            config = await request.json(ContainerConfig)
        options = CommitOptions(
            repo=request.text("repo"),
            tag=request.text("tag"),
            author=request.text("author"),
            comment=request.text("comment"),
            pause=request.flag("pause", default=True),
            changes=_lines(request),
        )
        return json_response(await self._backend.commit(container, options, config), 201)

    async def import_image(self, request: Request) -> StreamResponse:
        """Make an image of a tar stream."""
        options = ImportOptions(
            repo=request.text("repo"),
            tag=request.text("tag"),
            message=request.text("message"),
            platform=request.text("platform"),
            changes=_lines(request),
        )
        messages = await self._backend.import_image(
            request.text("fromSrc"), options, aiter(request.body)
        )
        return await progress_response(messages)


def _lines(request: Request) -> tuple[str, ...]:
    return tuple(line for text in request.texts("changes") for line in text.splitlines() if line)
