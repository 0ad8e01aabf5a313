"""Want of memory in a running container: an ``oom`` event and ``State.OOMKilled`` when it happens.

The kernel often kills another process than the container's first, and the container lives on. Who
has no limit of its own cannot run out of it and is not watched.
"""

import asyncio
from contextlib import suppress
from functools import partial

from kedge.engine.announce import announce
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.errdefs import KedgeError
from kedge.shim.client import Shim


class OomWatch:
    """Has shims watch the memory of running containers that have a limit."""

    def __init__(self, context: EngineContext) -> None:
        """Watch nobody yet."""
        self._context = context
        self._requests: set[asyncio.Task[None]] = set()

    def watch(self, container: Container) -> None:
        """Watch ``container`` until it ends, if it runs and is limited; again changes nothing."""
        shim = container.shim
        if container.record.host_config.memory <= 0 or shim is None:
            return
        shim.on_oom = partial(self._tell, container)
        request = asyncio.create_task(_ask(shim))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    def _tell(self, container: Container) -> None:
        if not container.record.alive:
            return
        if not container.record.oom_killed:
            container.record.oom_killed = True
            # A disk that is full keeps nobody from being told.
            with suppress(KedgeError):
                container.save()
        announce(self._context, container, "oom")


async def _ask(shim: Shim) -> None:
    # Where the kernel has no such watch, the container's end still tells of its own death.
    with suppress(KedgeError):
        await shim.watch_memory()
