"""The build cache for the API: what it takes, pruning, and collecting it under a size by itself.

How much that is says `kedge.engine.buildgc`.
"""

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


class BuildCacheService:
    """Answers questions about the cache, and keeps it under its size."""

    def __init__(self, context: EngineContext, keeper: CacheKeeper) -> None:
        """Keep the cache as ``context``'s settings say."""
        self._context = context
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

    def collect(self) -> None:
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
