"""Pull: a name becomes an image in the store, downloaded, verified and unpacked.

The order of a pull: documents (index, manifest, config) under a lease; all missing layers begin
to download, three at a time; the pulling thread unpacks them in order, each right behind its
download; when everything is verified and on disk, one transaction records the image and its
names. Whatever fails before that leaves the store as it was, plus partial downloads that the
next attempt goes on with and the garbage collection removes.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple, cast

from kedge.content.leases import Lease
from kedge.distribution import progress as words
from kedge.distribution.client import RepositoryClient
from kedge.distribution.credentials import ANONYMOUS, Credentials
from kedge.distribution.download import Download, DownloadReader, Downloads
from kedge.distribution.endpoints import Endpoint, RegistrySettings
from kedge.distribution.failures import PullCancelledError, RegistryRefusedError, pull_failure
from kedge.distribution.progress import Progress, Reporter
from kedge.distribution.resolve import ResolvedImage, Resolver
from kedge.distribution.retry import Retries
from kedge.distribution.routing import endpoints_for, open_transport
from kedge.distribution.transport import Transport
from kedge.errdefs import DataLossError, KedgeError, SystemFailureError
from kedge.images.image import Image, NewLayer
from kedge.images.store import ImageStore
from kedge.images.unpack import PlannedLayer
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.oci.hashing import chain_ids
from kedge.oci.image_spec import Descriptor
from kedge.oci.platforms import Platform
from kedge.oci.references import Reference

_DEFAULT_SETTINGS: Final = RegistrySettings()


class PullResult(NamedTuple):
    """What a pull brought."""

    image: Image
    digest: str
    """Of what the name names: the index where there is one."""
    was_new: bool
    """Whether the name meant something else, or nothing, before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What one call of `Puller.pull` asks for."""

    reference: Reference
    platform: Platform | None
    reporter: Reporter
    cancelled: threading.Event

    def check(self) -> None:
        """Raise if the pull is no longer wanted."""
        if self.cancelled.is_set():
            raise PullCancelledError

    def pause(self, seconds: float) -> None:
        """Wait, unless the pull is no longer wanted."""
        if self.cancelled.wait(seconds):
            raise PullCancelledError


class Puller:
    """Pulls images into one store; thread-safe, each call blocks until its pull is done."""

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
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._downloads = Downloads(
            images.content,
            max_downloads=settings.max_downloads,
            max_attempts=settings.max_attempts,
            range_bytes=settings.range_bytes,
        )

    def pull(
        self,
        reference: Reference,
        *,
        platform: Platform | None = None,
        credentials: Credentials = ANONYMOUS,
        progress: Progress = lambda _event: None,
        cancel: threading.Event | None = None,
    ) -> PullResult:
        """Get the image ``reference`` names for a platform, and let the reference name it.

        Args:
            reference: ``latest`` is meant where it has neither tag nor digest.
            platform: This machine's best fit where it is None; otherwise nothing else will do.
            credentials: For the registry; mirrors are asked without.
            progress: Told each line of ``docker pull``, one at a time, from several threads.
            cancel: When set, the pull ends with PullCancelledError.

        Raises:
            KedgeError: One line, Docker's text where it has one.
        """
        reference = reference.with_default_tag()
        if reference.digest:
            reference = reference._replace(tag="")
        request = _Request(
            reference=reference,
            platform=platform,
            reporter=Reporter(progress, self._clock),
            cancelled=cancel or threading.Event(),
        )
        request.reporter.line(
            f"Pulling from {reference.path}", reference.tag or reference.canonical()
        )
        *mirrors, registry = endpoints_for(reference, self._settings)
        for mirror in mirrors:
            try:
                return self._pull_from(mirror, request, ANONYMOUS)
            except SystemFailureError as error:
                # A mirror that is down, empty or lying is no reason to fail; a full disk is.
                if not isinstance(error, DataLossError):
                    raise
            except PullCancelledError:
                raise
            except KedgeError:
                continue
        return self._pull_from(registry, request, credentials)

    def tags(
        self,
        reference: Reference,
        *,
        credentials: Credentials = ANONYMOUS,
        cancel: threading.Event | None = None,
    ) -> list[str]:
        """Return the tags of the repository ``reference`` names, for a pull of all of them.

        Raises:
            KedgeError: One line, Docker's text where it has one.
        """
        request = _Request(
            reference=reference,
            platform=None,
            reporter=Reporter(lambda _event: None, self._clock),
            cancelled=cancel or threading.Event(),
        )
        endpoint = endpoints_for(reference, self._settings)[-1]
        try:
            return self._client(endpoint, request, credentials).tags()
        except RegistryRefusedError as error:
            raise pull_failure(error.problem, reference, endpoint.address) from error

    def close(self) -> None:
        """End the worker threads and connections; pulls must have been cancelled."""
        self._downloads.close()
        self._flusher.shutdown()
        self._transport.close()

    def _pull_from(
        self, endpoint: Endpoint, request: _Request, credentials: Credentials
    ) -> PullResult:
        client = self._client(endpoint, request, credentials)
        pull = _Pull(self._images, self._downloads, self._settings, client, request)
        try:
            result = pull.run()
        except RegistryRefusedError as error:
            raise pull_failure(error.problem, request.reference, endpoint.address) from error
        # Nobody waits for the flush: blobs are on disk already, and layers that a power cut takes
        # are unpacked from them again.
        self._flusher.submit(self._images.unpacker.sync)
        return result

    def _client(
        self, endpoint: Endpoint, request: _Request, credentials: Credentials
    ) -> RepositoryClient:
        return RepositoryClient(
            endpoint,
            request.reference,
            transport=self._transport,
            credentials=credentials,
            new_retries=lambda: Retries(
                max_attempts=self._settings.max_attempts, pause=request.pause
            ),
        )


@dataclass(slots=True, kw_only=True)
class _LayerTask:
    """One layer of the image being pulled."""

    blob: Descriptor
    planned: PlannedLayer
    download: Download | None = None
    ticket: int = 0
    started_here: bool = False
    is_downloaded: bool = field(default=False)


class _Pull:
    """One pull from one endpoint."""

    def __init__(
        self,
        images: ImageStore,
        downloads: Downloads,
        settings: RegistrySettings,
        client: RepositoryClient,
        request: _Request,
    ) -> None:
        self._images = images
        self._downloads = downloads
        self._settings = settings
        self._client = client
        self._request = request
        self._reporter = request.reporter
        self._tasks: list[_LayerTask] = []

    def run(self) -> PullResult:
        """Do it; a failure of the disk gives back all the space this pull took."""
        try:
            return self._run()
        except DataLossError:
            raise
        except SystemFailureError:
            for task in self._tasks:
                if task.download and task.started_here:
                    task.download.wait_ended()
                    self._images.content.discard_ingest(task.blob.digest)
            self._images.collect_garbage()
            raise

    def _run(self) -> PullResult:
        with self._images.lease() as lease:
            self._request.check()
            resolver = Resolver(
                self._client, self._images.content, self._request.reference, protect=lease.add
            )
            resolved = resolver.resolve(self._request.platform)
            self._tasks = _plan(resolved, lease)
            self._get_layers(is_known=self._images.has(resolved.manifest.config.digest))
            return self._record(resolved)

    def _get_layers(self, *, is_known: bool) -> None:
        with ExitStack() as leave:
            missing = [task for task in self._tasks if not self._is_complete(task)]
            if missing or not is_known:
                self._announce(missing)
            for task in missing:
                self._begin(task, leave)
            for task in missing:
                self._finish(task, leave)
                self._reporter.layer(words.PULLED, task.blob.digest)

    def _is_complete(self, task: _LayerTask) -> bool:
        return self._images.content.exists(task.blob.digest) and self._images.unpacker.has(
            task.planned.chain_id
        )

    def _announce(self, missing: list[_LayerTask]) -> None:
        waiting = missing[self._settings.max_downloads :]
        for task in self._tasks:
            status = words.PULLING_LAYER if task in missing else words.EXISTS
            self._reporter.layer(status, task.blob.digest)
        for task in waiting:
            self._reporter.layer(words.WAITING, task.blob.digest)

    def _begin(self, task: _LayerTask, leave: ExitStack) -> None:
        def listen(status: str, offset: int) -> None:
            if status == words.DOWNLOADING:
                self._reporter.count(status, task.blob.digest, offset, task.blob.size)
                return
            task.is_downloaded = status == words.DOWNLOADED
            self._reporter.layer(status, task.blob.digest)

        download, ticket, task.started_here = self._downloads.join(task.blob, listen, self._client)
        leave.callback(download.leave, ticket)
        task.download = download

    def _finish(self, task: _LayerTask, leave: ExitStack) -> None:
        """Unpack a layer behind its download and wait until both are verified."""
        while True:
            download = task.download
            assert download is not None
            try:
                self._unpack(task, download)
            except KedgeError:
                self._request.check()
                # Another pull's download fails with that pull's credentials or registry.
                if task.started_here or not download.has_failed:
                    raise
                self._begin(task, leave)
            else:
                return

    def _unpack(self, task: _LayerTask, download: Download) -> None:
        def open_stream() -> BinaryIO:
            return cast("BinaryIO", DownloadReader(download, self._check, on_read))

        def on_read(position: int) -> None:
            if task.is_downloaded:
                self._reporter.count(words.EXTRACTING, task.blob.digest, position, task.blob.size)

        def verify() -> None:
            download.wait(self._check)

        unpacker = self._images.unpacker
        try:
            unpacker.unpack(task.planned, open_stream, verify=verify, check=self._check)
        except DataLossError:
            # A bad download explains more than the damage that unpacking it met.
            verify()
            if not download.was_rewound:
                raise
            unpacker.unpack(task.planned, lambda: self._images.content.open(task.blob.digest))
        verify()

    def _check(self) -> None:
        """End the work on one layer when the pull is cancelled or another layer has failed."""
        self._request.check()
        for task in self._tasks:
            if task.download and task.started_here:
                task.download.raise_failure()

    def _record(self, resolved: ResolvedImage) -> PullResult:
        reference = self._request.reference
        names = [Reference(reference.domain, reference.path, digest=resolved.digest)]
        if reference.tag:
            names.append(reference)
        config = resolved.manifest.config.digest
        was_new = self._images.id_of(names[-1]) != config
        image = self._images.add(
            config,
            [NewLayer(task.planned.diff_id, task.blob) for task in self._tasks],
            manifest=resolved.descriptor,
            blobs=resolved.documents,
            names=names,
        )
        what = "Downloaded newer image for" if was_new else "Image is up to date for"
        self._reporter.line(f"Digest: {resolved.digest}")
        self._reporter.line(f"Status: {what} {reference.familiar()}")
        return PullResult(image, resolved.digest, was_new)


def _plan(resolved: ResolvedImage, lease: Lease) -> list[_LayerTask]:
    """Return the layers, base layer first, each protected from garbage collection."""
    tasks: list[_LayerTask] = []
    parent = ""
    diff_ids = resolved.config.rootfs.diff_ids
    for blob, diff_id, chain_id in zip(
        resolved.manifest.layers, diff_ids, chain_ids(diff_ids), strict=True
    ):
        lease.add(blob.digest, chain_id)
        tasks.append(_LayerTask(blob=blob, planned=PlannedLayer(diff_id, chain_id, parent)))
        parent = chain_id
    return tasks
