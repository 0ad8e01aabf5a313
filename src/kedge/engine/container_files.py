"""``docker cp`` both ways and ``export``: a container's files as tar streams.

Wording and rules follow moby's archive code; reaching the files is `kedge.engine.rootview`'s.
"""

import asyncio
import contextlib
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from typing import BinaryIO, Final, cast

from kedge.api.options import ExtractOptions
from kedge.api.types.container import PathStat
from kedge.archive.apply import extract_tar
from kedge.archive.compression import decompress
from kedge.archive.entry import Entry
from kedge.archive.layered import LayerStack
from kedge.archive.resource import (
    PathStatus,
    ResourcePath,
    parse_resource,
    stat_resource,
    write_resource,
)
from kedge.archive.writer import create_tar
from kedge.engine.announce import announce
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.inspect import format_time
from kedge.engine.pipe import BodyPipe
from kedge.engine.process import lookup_user
from kedge.engine.rootids import RootIds
from kedge.engine.rootview import OpenRoot, open_root
from kedge.engine.tarstream import stream_written
from kedge.errdefs import ForbiddenError, InvalidParameterError, NotFoundError

# Bits of Go's fs.FileMode, which is what the Docker CLI reads.
_GO_KINDS: Final = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_FLAGS: Final = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


class ContainerFilesService:
    """Satisfies the server's ``ContainerFilesBackend``."""

    def __init__(self, context: EngineContext) -> None:
        """Work on ``context``'s containers."""
        self._context = context

    async def stat(self, ref: str, path: str) -> PathStat:
        """Return what stands at ``path``.

        Raises:
            NotFoundError: Nothing, with Docker's text.
        """
        container, resource = self._context.containers.get(ref), parse_resource(path)
        async with open_root(self._context, container) as root:
            with _named(ref, path):
                found = await self._context.run_blocking(
                    lambda: stat_resource(root.descriptor, resource)
                )
        return _path_stat(found)

    async def read(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """Return what stands at ``path``, and it and everything below it as a tar stream.

        Raises:
            NotFoundError: Nothing, with Docker's text.
        """
        container, resource = self._context.containers.get(ref), parse_resource(path)
        async with contextlib.AsyncExitStack() as opened:
            root = await opened.enter_async_context(open_root(self._context, container))
            with _named(ref, path):
                found = await self._context.run_blocking(
                    lambda: stat_resource(root.descriptor, resource)
                )
            stream = _read(root, resource, opened.pop_all())
            # From here on closing the stream closes the root, too.
            await anext(stream)
        announce(self._context, container, "archive-path", {"path": path})
        return _path_stat(found), stream

    async def write(
        self, ref: str, path: str, options: ExtractOptions, body: AsyncIterator[bytes]
    ) -> None:
        """Extract a tar stream, compressed or not, into the directory at ``path``.

        Raises:
            NotFoundError: There is no such directory.
            InvalidParameterError: It is no directory, or the stream is no archive.
            ForbiddenError: It is read-only.
        """
        container, resource = self._context.containers.get(ref), parse_resource(path)
        async with open_root(self._context, container) as root:
            with _named(ref, path):
                change = await self._context.run_blocking(
                    lambda: self._prepare(container, root, resource, options)
                )
            pipe = BodyPipe()
            filler = asyncio.create_task(pipe.fill(body))
            try:
                await self._context.run_job(lambda: _extract(pipe, root, change, options))
                await filler
            finally:
                pipe.abandon()
                container.copies_in += 1
                filler.cancel()
                await asyncio.gather(filler, return_exceptions=True)
        announce(self._context, container, "extract-to-dir", {"path": path})

    def _prepare(
        self, container: Container, root: OpenRoot, resource: ResourcePath, options: ExtractOptions
    ) -> "_Extraction":
        where = f"/proc/self/fd/{root.descriptor}"
        with LayerStack((where,)) as stack:
            node = stack.require(resource.path)
            if not node.is_directory:
                raise InvalidParameterError("extraction point is not a directory")
            directory = node.path
        _check_writable(container, f"/{directory}")
        owner = None
        if options.copy_uid_gid:
            user = lookup_user((where,), container.record.config.user, [])
            owner = (user.uid, user.gid)
        return _Extraction(directory, owner, root.ids)

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """Return the container's root file system, without what is mounted in it, as a tar."""
        container = self._context.containers.get(ref)
        key = container.record.snapshot_key
        tree = await self._context.run_opening(lambda: self._context.snapshots.open_tree(key))
        stream = _export(tree)
        await anext(stream)
        announce(self._context, container, "export")
        return stream


class _Extraction:
    """Where entries go and whose they become."""

    def __init__(self, directory: str, owner: tuple[int, int] | None, ids: RootIds) -> None:
        self.directory = directory
        self._owner = owner
        self._ids = ids

    def change(self, entry: Entry) -> Entry:
        if self._owner is not None:
            entry = entry._replace(uid=self._owner[0], gid=self._owner[1])
        return self._ids.to_host(entry)


def _extract(pipe: BodyPipe, root: OpenRoot, to: _Extraction, options: ExtractOptions) -> None:
    try:
        with decompress(cast("BinaryIO", pipe)) as tar, root.ids.acting():
            extract_tar(
                tar,
                f"/proc/self/fd/{root.descriptor}",
                directory=to.directory,
                change=to.change,
                keep_kinds=options.no_overwrite_dir_non_dir,
            )
    finally:
        pipe.abandon()


async def _read(
    root: OpenRoot, resource: ResourcePath, opened: contextlib.AsyncExitStack
) -> AsyncGenerator[bytes]:
    async with opened:
        yield b""
        async with contextlib.aclosing(
            stream_written(
                lambda out: write_resource(
                    root.descriptor, resource, out, change=root.ids.to_container
                )
            )
        ) as pieces:
            async for piece in pieces:
                yield piece


async def _export(tree: LayerStack) -> AsyncGenerator[bytes]:
    with tree:
        yield b""
        async with contextlib.aclosing(stream_written(lambda out: create_tar(tree, out))) as pieces:
            async for piece in pieces:
                yield piece


@contextlib.contextmanager
def _named(ref: str, path: str) -> Generator[None]:
    """Say what is missing in Docker's words."""
    try:
        yield
    except NotFoundError:
        raise NotFoundError(f"Could not find the file {path} in container {ref}") from None


def _check_writable(container: Container, path: str) -> None:
    """Raise where a mount or the root is read-only, with Docker's texts."""
    record = container.record
    for point in sorted(record.mounts, key=lambda point: -len(point.destination)):
        if path == point.destination or path.startswith(f"{point.destination}/"):
            if not point.rw:
                raise ForbiddenError("mounted volume is marked read-only")
            return
    if any(path == each or path.startswith(f"{each}/") for each in record.host_config.tmpfs):
        return
    if record.host_config.readonly_rootfs:
        raise ForbiddenError("container rootfs is marked read-only")


def _path_stat(found: PathStatus) -> PathStat:
    status = found.status
    mode = stat.S_IMODE(status.st_mode) & 0o777 | _GO_KINDS.get(stat.S_IFMT(status.st_mode), 0)
    for bit, go_bit in _GO_FLAGS.items():
        if status.st_mode & bit:
            mode |= go_bit
    return PathStat(
        name=found.name,
        size=status.st_size,
        mode=mode,
        mtime=format_time(status.st_mtime_ns),
        link_target=found.link_target,
    )
