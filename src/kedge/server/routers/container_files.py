"""Files in and out of containers: archive in both directions, export."""

import base64
from collections.abc import Mapping
from typing import Final

from kedge.api import codec
from kedge.api.options import ExtractOptions
from kedge.api.types.container import PathStat
from kedge.errdefs import InvalidParameterError
from kedge.server.backends import ContainerFilesBackend
from kedge.server.request import Request
from kedge.server.response import Response, StreamResponse
from kedge.server.router import Handler

TAR: Final = "application/x-tar"
_STAT_HEADER: Final = "X-Docker-Container-Path-Stat"


class ContainerFilesRouter:
    """Handlers for containers' files."""

    def __init__(self, backend: ContainerFilesBackend) -> None:
        """Answer from ``backend``."""
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by operation."""
        return {
            "ContainerArchiveInfo": self.stat,
            "ContainerArchive": self.read,
            "PutContainerArchive": self.write,
            "ContainerExport": self.export,
        }

    async def stat(self, request: Request) -> Response:
        """Answer what stands at a path, in a header."""
        found = await self._backend.stat(request.name, _path(request))
        return Response(headers=_stat_header(found))

    async def read(self, request: Request) -> StreamResponse:
        """Stream what stands at a path."""
        found, chunks = await self._backend.read(request.name, _path(request))
        return StreamResponse(chunks, TAR, headers=_stat_header(found))

    async def write(self, request: Request) -> Response:
        """Extract the body into a directory."""
        options = ExtractOptions(
            no_overwrite_dir_non_dir=request.flag("noOverwriteDirNonDir"),
            copy_uid_gid=request.flag("copyUIDGID"),
        )
        await self._backend.write(request.name, _path(request), options, aiter(request.body))
        return Response()

    async def export(self, request: Request) -> StreamResponse:
        """Stream the root file system."""
        return StreamResponse(await self._backend.export(request.name), "application/octet-stream")


def _path(request: Request) -> str:
    path = request.text("path")
    if not path:
        raise InvalidParameterError("bad parameter: 'path' cannot be empty")
    return path


def _stat_header(found: PathStat) -> tuple[tuple[str, str], ...]:
    return ((_STAT_HEADER, base64.b64encode(codec.encode(found)).decode("ascii")),)
