"""Images, and the progress of making them available."""

from collections.abc import Mapping, Sequence

from kedge.api.options import ImageListOptions
from kedge.api.types.image import ImageSummary
from kedge.api.versions import ApiVersion
from kedge.errdefs import InvalidParameterError
from kedge.server.backends import ImageBackend
from kedge.server.request import Request
from kedge.server.response import AnyResponse, Response, StreamResponse, json_response
from kedge.server.router import Handler
from kedge.server.routers.credentials import parse_registry_auth
from kedge.server.routers.platforms import platform_of, platforms_of
from kedge.server.routers.progress import progress_response

# From this version on a size is said once.
_WITHOUT_VIRTUAL_SIZE = ApiVersion(1, 44)
_WITHOUT_CONTAINER_CONFIG = ApiVersion(1, 45)
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
            shared_size=request.flag("shared-size"),
            digests=request.flag("digests"),
            filters=request.filters(),
        )
        images = await self._backend.list(options)
        if request.version < _WITHOUT_VIRTUAL_SIZE:
            _add_virtual_size(images)
        return json_response(images)

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
            platform=request.text("platform"),
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
        image = await self._backend.inspect(request.name, platform=platform_of(request))
        if request.version < _WITHOUT_VIRTUAL_SIZE:
            image.virtual_size = image.size
        agent = request.head.headers.get("user-agent", "")
        if request.version < _WITHOUT_CONTAINER_CONFIG or agent.startswith(_NEEDS_CONTAINER_CONFIG):
            image.container_config = image.config
        return json_response(image)

    async def history(self, request: Request) -> Response:
        """Answer how an image was made."""
        steps = await self._backend.history(request.name, platform=platform_of(request))
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
            platforms=platforms_of(request),
        )
        return json_response(removed)

    async def prune(self, request: Request) -> Response:
        """Remove unused images."""
        return json_response(await self._backend.prune(request.filters()))


def _add_virtual_size(images: Sequence[ImageSummary]) -> None:
    for image in images:
        image.virtual_size = image.size
