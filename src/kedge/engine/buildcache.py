"""The build cache for the API: what it takes, pruning, and collecting it under a size by itself.

How much that is says `kedge.engine.buildgc`. Nobody waits until the layers of a build are flushed
to disk; that happens once no build has ended for a moment.
"""

import asyncio
import functools
import threading
from typing import Final

from kedge.api.options import BuildPruneOptions
from kedge.api.types.system import BuildCacheRecord, BuildPruneResponse
from kedge.builder.evictions import Amount, Policy, parse_fits
from kedge.builder.keeping import CacheKeeper, Kept
from kedge.engine.buildgc import parse_gc
from kedge.engine.context import EngineContext
from kedge.engine.inspect import format_time

_REST_S: Final = 30.0
_FLUSH_AFTER_S: Final = 5.0


class BuildCacheService:
    """Answers questions about the cache, and keeps it under its size."""

    def __init__(
        self,
        context: EngineContext,
        keeper: CacheKeeper,
        loop: asyncio.AbstractEventLoop,
        *,
        flush_after_s: float = _FLUSH_AFTER_S,
    ) -> None:
        """Keep the cache as ``context``'s settings say; timers run on ``loop``."""
        self._context = context
        self._loop = loop
        self._flush_after_s = flush_after_s
        self._flush: asyncio.TimerHandle | None = None
        self._keeper = keeper
        self._policies = parse_gc(context.settings.builder_gc, context.clock)
        self._collecting = threading.Lock()
        self._not_before_s = 0.0

    async def prune(self, options: BuildPruneOptions) -> BuildPruneResponse:
        """Forget build cache and free what only it kept."""
        policy = Policy(
            reserved=Amount(size_bytes=options.reserved_space),
            max_used=Amount(size_bytes=options.max_used_space),
            min_free=Amount(size_bytes=options.min_free_space),
            # What an image holds, too, frees nothing, but a next build shall begin anew.
            takes_shared=True,
            fits=parse_fits(options.filters, self._context.clock),
        )
        pruned = await self._context.run_blocking(functools.partial(self._keeper.prune, [policy]))
        return BuildPruneResponse(
            caches_deleted=list(pruned.ids), space_reclaimed=pruned.freed_bytes
        )

    def records(self) -> list[BuildCacheRecord]:
        """Return the build cache as ``system df`` shows it."""
        return [_record(kept) for kept in self._keeper.entries()]

    def settle(self) -> None:
        """Look after the cache in the background when a build has ended; from any thread."""
        self._context.workers.submit(self._collect)
        self._loop.call_soon_threadsafe(self._flush_soon)

    def close(self) -> None:
        """Start nothing more; on the loop."""
        if self._flush is not None:
            self._flush.cancel()

    def _flush_soon(self) -> None:
        self.close()
        # Without it, the next boot has to forget the layers, and with them what was remembered.
        self._flush = self._loop.call_later(
            self._flush_after_s, self._context.workers.submit, self._context.snapshots.sync
        )

    def _collect(self) -> None:
        """Remove what is over the size, unless that was done a moment ago; blocks."""
        if not self._policies or not self._collecting.acquire(blocking=False):
            return
        try:
            # Counting what cache mounts hold reads their folders, too much for every small build.
            now_s = self._context.clock.monotonic()
            if now_s >= self._not_before_s:
                self._not_before_s = now_s + _REST_S
                self._keeper.prune(self._policies)
        finally:
            self._collecting.release()


def _record(kept: Kept) -> BuildCacheRecord:
    item = kept.item
    return BuildCacheRecord(
        id=item.id.removeprefix("sha256:")[:25],
        type=item.kind,
        description=item.description,
        in_use=item.is_used,
        shared=item.is_shared,
        size=kept.disk_bytes,
        created_at=format_time(item.created_ns),
        last_used_at=format_time(item.last_used_ns),
        usage_count=kept.uses,
    )
