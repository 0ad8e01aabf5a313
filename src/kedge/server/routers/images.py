"""Images, and the progress of making them available."""

from collections.abc import Mapping

from kedge.api.options import ImageListOptions
from kedge.api.versions import ApiVersion
from kedge.errdefs import InvalidParameterError
from kedge.lib.filters import Filters
from kedge.server.backends import ImageBackend
from kedge.server.dialects.answers import list_images, show_image
from kedge.server.request import Request
from kedge.server.response import AnyResponse, Response, StreamResponse, json_response
from kedge.server.router import Handler
from kedge.server.routers.credentials import parse_registry_auth
from kedge.server.routers.platforms import platform_of, platforms_of
from kedge.server.routers.progress import progress_response

_WITH_PULLED_PLATFORM = ApiVersion(1, 32)
_WITHOUT_FILTER = ApiVersion(1, 41)
_WITH_SHARED_SIZE = ApiVersion(1, 42)
_WITH_HISTORY_PLATFORM = ApiVersion(1, 48)
_WITH_INSPECT_PLATFORM = ApiVersion(1, 49)
_WITH_REMOVED_PLATFORMS = ApiVersion(1, 50)
# compat: docker-compose 1.x asks for the newest API and still needs the field to recreate a
# container; Docker's engine lets it end in KeyError: 'ContainerConfig'.
_NEEDS_CONTAINER_CONFIG = "docker-compose/1."


class ImageRouter:
    """Handlers for images."""

    def __init__(self, backend: ImageBackend, import_image: Handler) -> None:
        """Answer from ``backend``; ``import_image`` answers imports, which share pull's route."""
        self._backend = backend
        self._import = import_image

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "ImageList": self.list,
            "ImageCreate": self.create,
            "KedgeImageBootstrap": self.bootstrap,
            "ImageInspect": self.inspect,
            "ImageHistory": self.history,
            "ImageTag": self.tag,
            "ImageDelete": self.delete,
            "ImagePrune": self.prune,
        }

    async def list(self, request: Request) -> Response:
        """Answer the images that match."""
        options = ImageListOptions(
            all=request.flag("all"),
            shared_size=request.version >= _WITH_SHARED_SIZE and request.flag("shared-size"),
            digests=request.flag("digests"),
            filters=_filters(request),
        )
        return json_response(list_images(await self._backend.list(options), request.version))

    async def create(self, request: Request) -> AnyResponse:
        """Pull or import an image."""
        image = request.text("fromImage")
        if not image:
            if request.text("fromSrc"):
                return await self._import(request)
            raise InvalidParameterError("no image to pull: give fromImage")
        messages = await self._backend.pull(
            image,
            tag=request.text("tag"),
            platform=request.text("platform") if request.version >= _WITH_PULLED_PLATFORM else "",
            auth=parse_registry_auth(request.head.headers.get("x-registry-auth", "")),
        )
        return await progress_response(messages)

    async def bootstrap(self, request: Request) -> StreamResponse:
        """Make a base image from packages."""
        name = request.text("name")
        if not name:
            raise InvalidParameterError("no image to make: give name")
        return await progress_response(await self._backend.bootstrap(name))

    async def inspect(self, request: Request) -> Response:
        """Answer everything about an image."""
        image = await self._backend.inspect(
            request.name, platform=platform_of(request, since=_WITH_INSPECT_PLATFORM)
        )
        if request.head.headers.get("user-agent", "").startswith(_NEEDS_CONTAINER_CONFIG):
            image.container_config = image.config
        return json_response(show_image(image, request.version))

    async def history(self, request: Request) -> Response:
        """Answer how an image was made."""
        steps = await self._backend.history(
            request.name, platform=platform_of(request, since=_WITH_HISTORY_PLATFORM)
        )
        return json_response(steps)

    async def tag(self, request: Request) -> Response:
        """Give an image another name."""
        await self._backend.tag(request.name, repo=request.text("repo"), tag=request.text("tag"))
        return Response(201)

    async def delete(self, request: Request) -> Response:
        """Untag or delete an image."""
        removed = await self._backend.remove(
            request.name,
            force=request.flag("force"),
            prune=not request.flag("noprune"),
            platforms=platforms_of(request, since=_WITH_REMOVED_PLATFORMS),
        )
        return json_response(removed)

    async def prune(self, request: Request) -> Response:
        """Remove unused images."""
        return json_response(await self._backend.prune(request.filters()))


def _filters(request: Request) -> Filters:
    filters, pattern = request.filters(), request.text("filter")
    if not pattern or request.version >= _WITHOUT_FILTER:
        return filters
    values = {key: filters.get(key) for key in filters.keys()}  # noqa: SIM118 - it is no mapping
    return Filters({**values, "reference": (*filters.get("reference"), pattern)})
