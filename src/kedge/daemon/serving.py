"""What serves the API: the services and the server over them, from their modules to their end."""

import asyncio
import os
from typing import Final

from kedge import __version__
from kedge.daemon.assembly import Engine, open_engine
from kedge.daemon.config import DaemonConfig
from kedge.daemon.core import EngineCore
from kedge.daemon.process import say
from kedge.lib.atomicfile import write_atomic
from kedge.server.listeners import open_listener
from kedge.server.response import ServerIdentity
from kedge.server.server import Backends, Server

_GRACE_S: Final = 2.0


async def serve(config: DaemonConfig, core: EngineCore, stop: asyncio.Event) -> None:
    """Serve the API until ``stop`` is set; what is asked for by then gets a moment to end."""
    async with open_engine(config, core) as engine:
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
