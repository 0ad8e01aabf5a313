"""``kedged``: read the configuration, open the engine, serve the API until told to stop."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from kedge.daemon.config import DaemonConfig, load_config
from kedge.daemon.core import EngineCore, open_core
from kedge.daemon.process import failures_are_one_line, raise_file_limit, say
from kedge.linux import malloc

_LARGEST_BUFFER: Final = 4 * 1024 * 1024
_SPARE_MEMORY: Final = 2 * 1024 * 1024
_ARENAS: Final = 2

_Serve: TypeAlias = Callable[[DaemonConfig, EngineCore, asyncio.Event], Awaitable[None]]


def main() -> None:
    """Run the engine; the exit code is 0 after a stop that was asked for."""
    with failures_are_one_line("kedged"):
        config = load_config(sys.argv[1:])
        if os.geteuid() != 0:
            say("kedged needs root for namespaces and mounts: run sudo kedged")
            raise SystemExit(1)
        raise_file_limit()
        malloc.keep_buffers(
            largest_bytes=_LARGEST_BUFFER, spare_bytes=_SPARE_MEMORY, arenas=_ARENAS
        )
        asyncio.run(_run(config))


async def _run(config: DaemonConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_core(config) as core:
        # In a thread, because exits and questions for names go on meanwhile.
        serve = await asyncio.to_thread(_read_services)
        await serve(config, core, stop)
    if config.pidfile:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(config.pidfile)


def _read_services() -> _Serve:
    """Read the modules nobody waits for whose names do not resolve; they are most of all."""
    from kedge.daemon.serving import serve  # noqa: PLC0415 - later is what this is about

    gc.freeze()
    gc.enable()
    return serve
