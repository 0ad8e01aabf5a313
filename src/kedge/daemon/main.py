"""``kedged``: read the configuration, open the engine, serve the API until told to stop."""

import asyncio
import contextlib
import os
import signal
import sys
from typing import Final

from kedge import __version__
from kedge.daemon.assembly import Engine, open_engine
from kedge.daemon.config import DaemonConfig, load_config
from kedge.daemon.process import failures_are_one_line, raise_file_limit, say
from kedge.lib.atomicfile import write_atomic
from kedge.linux import malloc
from kedge.server.listeners import open_listener
from kedge.server.response import ServerIdentity
from kedge.server.server import Backends, Server

_GRACE_S: Final = 2.0
_LARGEST_BUFFER: Final = 4 * 1024 * 1024
_SPARE_MEMORY: Final = 2 * 1024 * 1024
_ARENAS: Final = 2


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
    async with open_engine(config) as engine:
        for problem in engine.problems:
            say(problem)
        server = Server(_backends(engine), ServerIdentity(version=__version__))
        await server.serve(open_listener(address) for address in config.listen)
        if config.pidfile:
            write_atomic(config.pidfile, f"{os.getpid()}\n".encode())
        say(f"kedged {__version__} listens on {', '.join(config.listen)}")
        await stop.wait()
        say("stopping")
        await server.close(grace_s=_GRACE_S)
    if config.pidfile:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(config.pidfile)


def _backends(engine: Engine) -> Backends:
    return Backends(
        containers=engine.containers,
        files=engine.files,
        execs=engine.execs,
        images=engine.images,
        image_archives=engine.image_archives,
        builds=engine.builds,
        buildkit=engine.buildkit,
        networks=engine.networks,
        volumes=engine.volumes,
        system=engine.system,
        registries=engine.registries,
        search=engine.search,
    )
