"""What happens to the build cache once a build has ended."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from kedge.engine.buildcache import BuildCacheService
from kedge.lib.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from kedge.builder.keeping import CacheKeeper
    from kedge.engine.context import EngineContext


class Engine:
    """As much of an engine as the service asks for; notes each flush."""

    def __init__(self) -> None:
        self.flushed = threading.Event()
        self.flushes = 0
        self.workers = ThreadPoolExecutor(1)
        self.settings = SimpleNamespace(builder_gc={"enabled": False})
        self.clock = SYSTEM_CLOCK
        self.snapshots = self

    def sync(self) -> None:
        self.flushes += 1
        self.flushed.set()

    def service(self, *, flush_after_s: float) -> BuildCacheService:
        return BuildCacheService(
            cast("EngineContext", self),
            cast("CacheKeeper", None),
            asyncio.get_running_loop(),
            flush_after_s=flush_after_s,
        )


def test_layers_are_flushed_once_builds_have_ended() -> None:
    async def scenario() -> None:
        engine = Engine()
        cache = engine.service(flush_after_s=0.01)
        cache.settle()
        cache.settle()
        assert await asyncio.to_thread(engine.flushed.wait, 30)
        await asyncio.to_thread(engine.workers.shutdown)
        assert engine.flushes == 1

    asyncio.run(scenario())


def test_an_engine_that_stops_starts_no_flush() -> None:
    async def scenario() -> None:
        engine = Engine()
        cache = engine.service(flush_after_s=0)
        cache.settle()
        await asyncio.sleep(0)
        cache.close()
        await asyncio.to_thread(engine.workers.shutdown)
        assert engine.flushes == 0

    asyncio.run(scenario())
