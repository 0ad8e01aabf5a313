"""Push: what the store has of an image becomes an image in a registry, byte for byte.

The order of a push, which distribution-spec demands: layers and config, several at a time; then
manifests; then the index. Nothing is named before everything it names is there, so a push that
fails or is cancelled leaves blobs that the registry's garbage collection removes, and never half an
image. What was pulled is pushed with the same bytes, so digests stay.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Final, NamedTuple

from kedge.distribution import progress as words
from kedge.distribution.client import RepositoryClient
from kedge.distribution.credentials import ANONYMOUS, Credentials
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.failures import (
    PushCancelledError,
    RegistryRefusedError,
    push_failure,
)
from kedge.distribution.progress import Progress, PushedTag, Reporter
from kedge.distribution.publishing import put_manifest
from kedge.distribution.retry import Retries
from kedge.distribution.routing import open_transport, registry_for
from kedge.distribution.selection import PushPlan, plan_push
from kedge.distribution.transport import Transport
from kedge.distribution.upload import Source, Uploaded, ensure_blob
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.images.store import ImageStore
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.oci.image_spec import Descriptor
from kedge.oci.platforms import Platform
from kedge.oci.references import Reference

_MAX_MOUNT_SOURCES: Final = 3
_DEFAULT_SETTINGS: Final = RegistrySettings()


class _Work(NamedTuple):
    """One push on its way."""

    client: RepositoryClient
    reporter: Reporter
    cancelled: threading.Event

    def check(self) -> None:
        """Raise if the push is no longer wanted."""
        if self.cancelled.is_set():
            raise PushCancelledError


class Pusher:
    """Pushes images of one store; thread-safe, each call blocks until its push is done."""

    def __init__(
        self,
        images: ImageStore,
        settings: RegistrySettings = _DEFAULT_SETTINGS,
        *,
        clock: Clock = SYSTEM_CLOCK,
        transport: Transport | None = None,
    ) -> None:
        self._images = images
        self._settings = settings
        self._clock = clock
        self._transport = transport or open_transport(settings)
        self._workers = ThreadPoolExecutor(settings.max_uploads, thread_name_prefix="upload")

    def push(
        self,
        reference: Reference,
        *,
        platform: Platform | None = None,
        credentials: Credentials = ANONYMOUS,
        progress: Progress = lambda _event: None,
        cancel: threading.Event | None = None,
    ) -> list[PushedTag]:
        """Push one tag, or all tags of the repository where ``reference`` has none.

        Args:
            reference: What to push; its name says where to.
            platform: Push this image alone where the tag names several.
            credentials: For the registry.
            progress: Told each line of ``docker push``, one at a time, from several threads.
            cancel: When set, the push ends with PushCancelledError.

        Raises:
            KedgeError: One line, Docker's text where it has one.
        """
        reporter = Reporter(progress, self._clock)
        reporter.line(f"The push refers to repository [{reference.name}]")
        targets = self._targets(reference)
        cancelled = cancel or threading.Event()
        results: list[PushedTag] = []
        for target, image_id in targets:
            with self._images.lease() as lease:
                plan = plan_push(self._images, image_id, platform, protect=lease.add)
                results.append(self._push_one(target, plan, credentials, reporter, cancelled))
            name = Reference(target.domain, target.path, digest=plan.digest)
            self._images.known_as(image_id, name)
        return results

    def close(self) -> None:
        """End the worker threads and connections; pushes must have been cancelled."""
        self._workers.shutdown(cancel_futures=True)
        self._transport.close()

    def _targets(self, reference: Reference) -> list[tuple[Reference, str]]:
        if reference.digest:
            raise InvalidParameterError("cannot push a digest reference")
        known = self._images.tags_of(reference)
        if not known:
            raise NotFoundError(
                f"An image does not exist locally with the tag: {reference.familiar_name}"
            )
        if not reference.tag:
            return known
        for name, image_id in known:
            if name.tag == reference.tag:
                return [(name, image_id)]
        raise NotFoundError(f"tag does not exist: {reference.familiar()}")

    def _push_one(
        self,
        target: Reference,
        plan: PushPlan,
        credentials: Credentials,
        reporter: Reporter,
        cancelled: threading.Event,
    ) -> PushedTag:
        endpoint = registry_for(target.domain, self._settings)
        mounts = {
            blob.digest: self._mount_sources(target, blob.digest) for blob in plan.layers.values()
        }
        sources = sorted({source for found in mounts.values() for source in found})

        def pause(seconds: float) -> None:
            if cancelled.wait(seconds):
                raise PushCancelledError

        client = RepositoryClient(
            endpoint,
            target,
            transport=self._transport,
            credentials=credentials,
            new_retries=lambda: Retries(max_attempts=self._settings.max_attempts, pause=pause),
            actions="pull,push",
            more_scopes=[f"repository:{source}:pull" for source in sources],
        )
        work = _Work(client, reporter, cancelled)
        try:
            self._push_blobs(work, plan, mounts)
            for document in plan.documents:
                work.check()
                is_last = document.digest == plan.digest
                put_manifest(client, document, target.tag if is_last else "")
        except RegistryRefusedError as error:
            raise push_failure(error.problem, target, endpoint.address) from error
        size = len(plan.documents[-1].data)
        reporter.line(f"{target.tag}: digest: {plan.digest} size: {size}")
        result = PushedTag(target.tag, plan.digest, size)
        reporter.pushed(result)
        return result

    def _push_blobs(self, work: _Work, plan: PushPlan, mounts: dict[str, tuple[str, ...]]) -> None:
        # Docker shows the top layer first, and the ids of what is unpacked.
        for shown in plan.layers:
            work.reporter.layer(words.PREPARING, shown)
        for shown in plan.foreign:
            work.reporter.layer(words.FOREIGN_SKIPPED, shown)
        for shown in [*plan.layers][self._settings.max_uploads :]:
            work.reporter.layer(words.WAITING, shown)
        failed = threading.Event()
        jobs: list[Future[None]] = []
        for shown, blob in [*plan.layers.items(), *(("", config) for config in plan.configs)]:
            job = self._blob_job(work, blob, shown, mounts.get(blob.digest, ()), failed)
            jobs.append(self._workers.submit(job))
        error: BaseException | None = None
        for job_done in as_completed(jobs):
            found = job_done.exception()
            if found is not None and error is None:
                error = found
                failed.set()
        if error is not None:
            raise error

    def _blob_job(
        self,
        work: _Work,
        blob: Descriptor,
        shown: str,
        mounts: Sequence[str],
        failed: threading.Event,
    ) -> Callable[[], None]:
        def on_sent(sent: int) -> None:
            work.check()
            if failed.is_set():
                raise PushCancelledError
            if shown and sent:
                work.reporter.count(words.PUSHING, shown, sent, blob.size)

        def run() -> None:
            on_sent(0)
            source = Source(lambda: self._images.content.open(blob.digest), on_sent)
            uploaded = ensure_blob(work.client, blob, source, mounts=mounts)
            if shown:
                work.reporter.layer(_outcome(uploaded), shown)

        return run

    def _mount_sources(self, target: Reference, digest: str) -> tuple[str, ...]:
        found = [
            name.path
            for name in self._images.repositories_with(digest)
            if name.domain == target.domain and name.path != target.path
        ]
        return tuple(dict.fromkeys(found))[:_MAX_MOUNT_SOURCES]


def _outcome(uploaded: Uploaded) -> str:
    if uploaded.existed:
        return words.PUSH_EXISTS
    if uploaded.mounted_from:
        return f"{words.MOUNTED_FROM} {uploaded.mounted_from}"
    return words.PUSHED
