"""``docker logs``: the container's log as the client shall get it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeAlias

from kedge.api.logmarks import MARK, LogMark, encode_mark
from kedge.api.options import LogOptions
from kedge.api.streams import OutputStream, frame
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.logsetup import readable_path
from kedge.errdefs import NotSupportedError
from kedge.lib.clock import format_rfc3339
from kedge.logdrivers.jsonfile import JsonFileReader
from kedge.logdrivers.progress import LogProgress
from kedge.logdrivers.reading import LogBatch, LogReader, ReadOptions, encode_batches

_CHUNK_SIZE: Final = 256 * 1024
_Encode: TypeAlias = Callable[[Sequence[LogBatch]], bytes]
_Batches: TypeAlias = AsyncIterator[list[LogBatch]]


async def open_log(
    context: EngineContext, container: Container, options: LogOptions
) -> OutputStream:
    """Return past and, with ``follow``, future lines of a container's log.

    Raises:
        NotSupportedError: The container keeps no log.
    """
    record = container.record
    path = readable_path(context.paths, record)
    if not path:
        raise NotSupportedError("configured logging driver does not support reading")
    reader = JsonFileReader(path, context.log_watcher, context.clock)
    tty = record.config.tty and not (options.follow and options.marks)
    return OutputStream(tty=tty, chunks=_read(context, container, reader, options))


async def _read(
    context: EngineContext, container: Container, reader: LogReader, options: LogOptions
) -> AsyncIterator[bytes]:
    wanted = ReadOptions(
        stdout=options.stdout,
        stderr=options.stderr,
        since_ns=options.after_ns or options.since_ns,
        until_ns=options.until_ns,
        tail=-1 if options.after else options.tail,
    )
    marks = options.follow and options.marks
    encode = partial(
        encode_batches,
        framed=marks or not container.record.config.tty,
        # compat: docker-py gives those who follow a log one piece for each frame, taken for a line.
        by_line=options.follow,
        timestamps=options.timestamps,
        details=options.details,
    )
    if not options.follow:
        async for chunk in _read_chunks(context, reader.read(wanted), encode):
            yield chunk
        return
    ended = asyncio.Event()
    watcher = asyncio.create_task(_tell_when_over(container, ended))
    start = options.after or LogMark(format_rfc3339(context.clock.time_ns()), 0)
    follow = reader.follow(wanted, ended)
    try:
        async for some in (
            _encode_marked(follow, encode, start) if marks else _encode(follow, encode)
        ):
            yield some
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher


async def _encode(batches: _Batches, encode: _Encode) -> AsyncIterator[bytes]:
    async for some in batches:
        if some:
            yield encode(some)


async def _encode_marked(
    batches: _Batches, encode: _Encode, start: LogMark
) -> AsyncIterator[bytes]:
    """Yield pieces that end in a mark each; the first one comes even where the log is empty."""
    progress = LogProgress(start)
    async for some in batches:
        yield encode(progress.take(some)) + frame(MARK, encode_mark(progress.mark))


async def _read_chunks(
    context: EngineContext, batches: Iterator[list[LogBatch]], encode: _Encode
) -> AsyncIterator[bytes]:
    """Yield encoded batches, many at a time; all but the sending is done in a thread."""

    def make_chunk() -> bytes:
        parts: list[bytes] = []
        size = 0
        while size < _CHUNK_SIZE and (some := next(batches, None)) is not None:
            parts.append(encode(some))
            size += len(parts[-1])
        return b"".join(parts)

    while chunk := await context.run_blocking(make_chunk):
        yield chunk


async def _tell_when_over(container: Container, ended: asyncio.Event) -> None:
    # The shim writes the last line before it tells of the exit.
    if container.record.alive:
        await asyncio.shield(container.exited)
    ended.set()
