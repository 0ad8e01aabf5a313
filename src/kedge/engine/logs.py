"""``docker logs``: the container's log as the client shall get it."""

from collections.abc import AsyncIterator

from kedge.api.options import LogOptions
from kedge.api.streams import OutputStream
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.errdefs import NotSupportedError


async def open_log(
    context: EngineContext, container: Container, options: LogOptions
) -> OutputStream:
    """Return past and, with ``follow``, future lines of a container's log.

    Raises:
        NotSupportedError: The container keeps no log.
    """
    record = container.record
    driver = record.host_config.log_config.type or context.settings.log_driver
    if driver == "none":
        raise NotSupportedError("configured logging driver does not support reading")
    return OutputStream(tty=record.config.tty, chunks=_read(context, container, options))


async def _read(
    context: EngineContext, container: Container, options: LogOptions
) -> AsyncIterator[bytes]:
    raise NotImplementedError
    yield b""
