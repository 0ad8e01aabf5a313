"""One file-system operation of one build: found in the cache, or made and remembered."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import assert_never

from kedge.builder.cache import BuildCache, CacheRecord
from kedge.builder.copy_step import CopyStep, Times, directory_exists, make_directory
from kedge.builder.emulation import can_emulate
from kedge.builder.events import CacheHit, CacheMiss, Event
from kedge.builder.failures import BuildCancelledError
from kedge.builder.files.destination import Destination
from kedge.builder.files.directory import DigestMemo
from kedge.builder.files.followed import follow
from kedge.builder.files.layers import LayersTree
from kedge.builder.files.tree import NO_FILES, Tree
from kedge.builder.misses import explain_miss
from kedge.builder.operations import (
    CopyOperation,
    MakeDirectory,
    Operation,
    RunOperation,
    cache_key,
    key_document,
)
from kedge.builder.parallel import Once
from kedge.builder.remote.downloads import Downloads
from kedge.builder.remote.fetching import Fetching
from kedge.builder.remotecache.imports import CacheImports
from kedge.builder.run_mounts import FindTree, RunMounts
from kedge.builder.run_step import RunStep
from kedge.content.leases import Lease
from kedge.errdefs import InvalidParameterError, NotSupportedError, SystemFailureError
from kedge.images.layering import Layering, LayerRecord, OpenLayer, clamp_times
from kedge.lib.clock import Clock
from kedge.lib.durations import human_duration
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci.platforms import Platform, best_match


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What the steps of every build of one engine share."""

    cache: BuildCache
    layering: Layering
    memo: DigestMemo
    once: Once
    downloads: Downloads
    clock: Clock
    scratch: str
    host: Platform


@dataclass(slots=True, kw_only=True)
class Performer:
    """Carries out the operations of one build and counts them."""

    workshop: Workshop
    lease: Lease
    run_step: RunStep
    run_mounts: RunMounts
    fetching: Fetching
    imports: CacheImports
    epoch_ns: int | None
    no_cache: bool
    on_event: Callable[[Event], None]
    cancel: threading.Event
    used_keys: list[str] = field(default_factory=list[str])
    made_keys: list[str] = field(default_factory=list[str])

    def for_stage(self, on_event: Callable[[Event], None], *, anew: bool) -> "Performer":
        """Return the same for a stage whose reports go elsewhere; both count together.

        Args:
            on_event: Told what the stage does.
            anew: Whether nothing that is remembered counts in this stage.
        """
        run_step = self.run_step.reporting_to(on_event)
        no_cache = self.no_cache or anew
        return replace(self, on_event=on_event, run_step=run_step, no_cache=no_cache)

    def check(self) -> None:
        """Raise BuildCancelledError once the build is cancelled."""
        if self.cancel.is_set():
            raise BuildCancelledError("build cancelled")

    def perform(
        self, operation: Operation, text: str, parent: str, platform: Platform, find: FindTree
    ) -> LayerRecord | None:
        """Return the layer ``operation`` makes on ``parent``; None when there is nothing to do.

        Args:
            operation: What to do.
            text: The history entry, kept beside the result.
            parent: Chain id below; empty for the first layer.
            platform: What the stage runs on.
            find: Where COPY finds its sources.
        """
        try:
            return self._perform(operation, text, parent, platform, find)
        except RecursionError:
            raise InvalidParameterError(f"{text}: directories are nested too deeply") from None

    def _perform(
        self, operation: Operation, text: str, parent: str, platform: Platform, find: FindTree
    ) -> LayerRecord | None:
        with self._below(parent) as below:
            match operation:
                case RunOperation():
                    self._check_platform(platform)
                    layer = self._run(operation, text, parent, find)
                case CopyOperation():
                    # An ADD of nothing but URLs needs no context.
                    source = find(operation.from_) if operation.sources else NO_FILES
                    follow(source, operation.sources)
                    remotes = [(each, self.fetching.source(each)) for each in operation.remotes]
                    step = CopyStep(operation, source, below, remotes)
                    layer = self._copy(step, operation, text, parent, below)
                case MakeDirectory():
                    if directory_exists(operation.path, below):
                        return None
                    layer = self._mkdir(operation, text, parent, below)
                case _:
                    assert_never(operation)
        return layer

    def look_around(self, where: RunOperation, parent: str, reason: str) -> None:
        """Offer a shell on top of ``parent`` to whoever asked for one where a step fails."""
        if self.run_step.is_watched and not self.cancel.is_set():
            with self.workshop.layering.open(parent, mounted_twice=True) as layer:
                self.run_step.look_around(where, layer, reason)

    @contextmanager
    def _below(self, parent: str) -> Generator[LayersTree, None, None]:
        with LayersTree(self.workshop.layering.open_tree(parent), self.workshop.memo) as below:
            yield below

    def _check_platform(self, platform: Platform) -> None:
        host = self.workshop.host
        if best_match(host, [platform]) is None and not can_emulate(platform):
            raise NotSupportedError(
                f"RUN needs {platform}, but this machine is {host} and cannot emulate it: build "
                f"with --platform {host}, or register an emulator (qemu-user) with binfmt_misc"
            )

    def _run(self, operation: RunOperation, text: str, parent: str, find: FindTree) -> LayerRecord:
        def change(layer: OpenLayer) -> None:
            with self.run_mounts.open(operation.mounts, find) as shown:
                self.run_step.run(operation, layer, shown)
            if self.epoch_ns is not None:
                clamp_times(layer, self.epoch_ns)

        inputs: list[Json] = [parent, *self.run_mounts.inputs(operation.mounts, find)]
        return self._cached_or_made(operation.describe(), inputs, text, parent, change)

    def _copy(
        self, step: CopyStep, operation: CopyOperation, text: str, parent: str, below: Tree
    ) -> LayerRecord:
        times = self._times()

        def change(layer: OpenLayer) -> None:
            # --link: nothing of what is below decides where the files go.
            seen = LayersTree(None, self.workshop.memo) if operation.is_link else below
            destination = Destination(layer.upper, seen)
            step.apply(destination, times, self.workshop.scratch, self.check)
            destination.finish()

        inputs: list[Json] = [parent, *step.inputs()]
        return self._cached_or_made(operation.describe(), inputs, text, parent, change)

    def _mkdir(self, operation: MakeDirectory, text: str, parent: str, below: Tree) -> LayerRecord:
        times = self._times()

        def change(layer: OpenLayer) -> None:
            destination = Destination(layer.upper, below)
            make_directory(operation, destination, below, times)
            destination.finish()

        return self._cached_or_made(operation.describe(), [parent], text, parent, change)

    def _times(self) -> Times:
        return Times(now_ns=self.workshop.clock.time_ns(), epoch_ns=self.epoch_ns)

    def _cached_or_made(
        self,
        description: JsonObject,
        inputs: list[Json],
        text: str,
        parent: str,
        change: Callable[[OpenLayer], None],
    ) -> LayerRecord:
        document = key_document(description, inputs, self.epoch_ns)
        key = cache_key(document)
        if self.no_cache:
            return self._made(key, document, text, parent, change)
        # Another build of the same step must not wait for a person who looks around in this one.
        alone = nullcontext() if self.run_step.is_watched else None
        with alone or self.workshop.once.hold(key, self.check):
            found = self._find(key) or self._imported(key, document, text, parent)
            if found is None:
                self._explain(key, document, text, parent)
                found = self._made(key, document, text, parent, change)
            return found

    def _explain(self, key: str, document: str, text: str, parent: str) -> None:
        cache = self.workshop.cache
        evicted_ns = cache.evicted_ns(key)
        if cache.find(key):
            reason = "its layer is gone"
        elif evicted_ns:
            ago_ns = self.workshop.clock.time_ns() - evicted_ns
            reason = f"evicted {human_duration(ago_ns).lower()} ago"
        else:
            reason = explain_miss(document, text, cache.siblings(parent))
        if reason:
            self.on_event(CacheMiss(reason=reason))

    def _made(
        self,
        key: str,
        document: str,
        text: str,
        parent: str,
        change: Callable[[OpenLayer], None],
    ) -> LayerRecord:
        self.check()
        begun_s = self.workshop.clock.monotonic()
        try:
            # A shell in the files of a step that failed mounts them again.
            again = self.run_step.is_watched
            with self.workshop.layering.open(parent, mounted_twice=again) as layer:
                change(layer)
                self.check()
                written = self.workshop.layering.commit(layer, self.lease, self.epoch_ns)
        except OSError as error:
            raise SystemFailureError(f"{text}: {error.strerror}") from error
        self._remember(key, document, text, parent, written.record, written.size_bytes)
        duration_s = self.workshop.clock.monotonic() - begun_s
        self.workshop.cache.note_duration(key, int(duration_s * 1000))
        self.made_keys.append(key)
        return written.record

    def _find(self, key: str) -> LayerRecord | None:
        record = self.workshop.cache.find(key)
        if record is None:
            return None
        self.lease.add(record.chain_id, record.blob.digest)
        if not self.workshop.layering.is_whole(record.layer):
            return None
        self.used_keys.append(key)
        self.on_event(CacheHit(key=key, saved_ms=self.workshop.cache.duration_ms(key)))
        return record.layer

    def _imported(self, key: str, document: str, text: str, parent: str) -> LayerRecord | None:
        """Return the layer of a step that another engine has carried out."""
        layer = self.imports.find(key, parent, self.lease)
        if layer is None or not self.workshop.layering.is_whole(layer):
            return None
        self._remember(key, document, text, parent, layer, layer.blob.size if layer.blob else 0)
        self.used_keys.append(key)
        self.on_event(CacheHit(key=key))
        return layer

    def _remember(
        self,
        key: str,
        document: str,
        text: str,
        parent: str,
        layer: LayerRecord,
        size_bytes: int,
    ) -> None:
        if layer.blob is None:
            return
        self.workshop.cache.put(
            CacheRecord(
                key=key,
                step=text,
                parent=parent,
                diff_id=layer.diff_id,
                chain_id=layer.chain_id,
                blob=layer.blob,
                size_bytes=size_bytes,
                created_ns=layer.created_ns,
                last_used_ns=self.workshop.clock.time_ns(),
                inputs=document,
            )
        )
