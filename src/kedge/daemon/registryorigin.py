"""The origin of a pull-through registry: another registry, asked through `kedge.distribution`.

A blob is fetched once however many clients want it, and given to all of them while it comes in.
It enters the store verified or not at all; a client whose stream breaks off asks again, and the
download goes on where it stopped.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from kedge.distribution.access import RegistryAccess
from kedge.distribution.client import ACCEPTED_MANIFESTS, RepositoryClient
from kedge.distribution.credentials import Credentials
from kedge.distribution.download import Download, Downloads
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.failures import RegistryRefusedError
from kedge.errdefs import InvalidParameterError, KedgeError
from kedge.oci.digests import is_digest
from kedge.oci.image_spec import Descriptor
from kedge.oci.references import parse_strict
from kedge.registry.checks import check_digest, check_repository
from kedge.registry.failures import DistributionError, ErrorCode
from kedge.registry.store import RegistryStore
from kedge.server.registry.answers import blob_headers
from kedge.server.response import StreamResponse

_CHUNK: Final = 1 << 18
_SECOND_NS: Final = 1_000_000_000
_OCTETS: Final = "application/octet-stream"
_DOWNLOADS: Final = 8
_CLIENTS_MAX: Final = 256
_ATTEMPTS: Final = 5
_RANGE_BYTES: Final = 8 << 20
_ABSENT: Final = frozenset({401, 403, 404, 410})
"""Registries say "unauthorized" for what does not exist, too."""


class OriginSettings(NamedTuple):
    """Another registry, and how it is asked.

    Attributes:
        address: ``https://host`` or ``http://host:port``.
        ttl_s: How long a tag is believed before it is compared again.
    """

    address: str
    ttl_s: float
    credentials: Credentials


class RegistryOrigin:
    """Brings manifests and blobs from another registry into a store."""

    def __init__(self, store: RegistryStore, settings: OriginSettings) -> None:
        """Ask nothing yet.

        Raises:
            InvalidParameterError: The address is none.
        """
        self._store = store
        self._domain, insecure = _split_address(settings.address)
        self._ttl_ns = int(settings.ttl_s * _SECOND_NS)
        self._access = RegistryAccess(
            RegistrySettings(insecure=insecure, max_attempts=_ATTEMPTS),
            lambda _domain: settings.credentials,
        )
        self._downloads = Downloads(
            store.content,
            max_downloads=_DOWNLOADS,
            max_attempts=_ATTEMPTS,
            range_bytes=_RANGE_BYTES,
        )
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._clients: dict[str, RepositoryClient] = {}

    def close(self) -> None:
        """Give up what is under way."""
        self._closing.set()
        self._downloads.close()
        self._access.close()

    async def ensure_manifest(self, repository: str, reference: str) -> None:
        """Bring a manifest in; see `kedge.server.registry.origin.Origin`."""
        check_repository(repository)
        if is_digest(reference):
            if self._store.has_manifest(repository, reference):
                return
        else:
            age_ns = self._store.tag_age_ns(repository, reference)
            if age_ns is not None and age_ns < self._ttl_ns:
                return
        await asyncio.to_thread(self._fetch_manifest, repository, reference)

    async def stream_blob(
        self, repository: str, digest: str, *, head_only: bool
    ) -> StreamResponse | None:
        """Return a blob as it comes in; see `kedge.server.registry.origin.Origin`."""
        check_repository(repository)
        if self._store.has_blob(repository, check_digest(digest)):
            return None
        client = self._client(repository)
        size_bytes = await asyncio.to_thread(_ask_size, client, digest)
        if size_bytes is None:
            return None
        descriptor = Descriptor(_OCTETS, digest, size_bytes)
        chunks = _nothing() if head_only else self._follow(repository, descriptor, client)
        return StreamResponse(chunks, _OCTETS, headers=blob_headers(digest), length=size_bytes)

    def _fetch_manifest(self, repository: str, reference: str) -> None:
        client = self._client(repository)
        known = self._store.tag_digest(repository, reference)
        try:
            # Asking for the digest alone counts for no rate limit.
            if known and _ask_digest(client, reference) == known:
                self._store.confirm_tag(repository, reference)
                return
            found = client.manifest(reference)
            self._store.put_manifest(
                repository, reference, found.data, content_type=found.media_type
            )
        except RegistryRefusedError as error:
            if error.problem.status not in _ABSENT and not known:
                raise _unavailable(error) from error
        except KedgeError as error:
            if not known:
                raise _unavailable(error) from error

    async def _follow(
        self, repository: str, descriptor: Descriptor, client: RepositoryClient
    ) -> AsyncIterator[bytes]:
        """Yield a blob's bytes behind its download, which ends with its last reader."""
        with self._store.content.lease() as lease:
            lease.add(descriptor.digest)
            download, ticket, _ = self._downloads.join(descriptor, _not_watched, client)
            try:
                position = 0
                while position < descriptor.size:
                    data = await asyncio.to_thread(self._read, download, position)
                    position += len(data)
                    if position == descriptor.size:
                        # The last piece is given out only once the whole is verified.
                        await asyncio.to_thread(download.wait, self._check)
                        await asyncio.to_thread(
                            self._store.adopt_blob, repository, descriptor.digest, descriptor.size
                        )
                    yield data
            finally:
                download.leave(ticket)
        await asyncio.to_thread(self._store.bytes.added, descriptor.size)

    def _read(self, download: Download, position: int) -> bytes:
        return download.read_at(position, _CHUNK, self._check)

    def _check(self) -> None:
        if self._closing.is_set():
            raise DistributionError(ErrorCode.UNAVAILABLE, "the registry is stopping")

    def _client(self, repository: str) -> RepositoryClient:
        """Return the client of a repository, which remembers scheme and token."""
        with self._lock:
            client = self._clients.pop(repository, None) or self._access.client(
                parse_strict(f"{self._domain}/{repository}")
            )
            self._clients[repository] = client
            if len(self._clients) > _CLIENTS_MAX:
                del self._clients[next(iter(self._clients))]
        return client


def _not_watched(_status: str, _offset: int) -> None:
    """Take no notice of a download's progress."""


async def _nothing() -> AsyncIterator[bytes]:
    no_pieces: tuple[bytes, ...] = ()
    for piece in no_pieces:
        yield piece


def _ask_size(client: RepositoryClient, digest: str) -> int | None:
    """Return a blob's size at the origin; None where it has none."""
    try:
        with client.exchange.send("HEAD", f"{client.repository}/blobs/{digest}") as answer:
            length = answer.header("content-length")
    except RegistryRefusedError as error:
        if error.problem.status in _ABSENT:
            return None
        raise _unavailable(error) from error
    except KedgeError as error:
        raise _unavailable(error) from error
    return int(length) if length.isascii() and length.isdigit() else None


def _ask_digest(client: RepositoryClient, tag: str) -> str:
    with client.exchange.send(
        "HEAD", f"{client.repository}/manifests/{tag}", {"accept": ACCEPTED_MANIFESTS}
    ) as answer:
        return answer.header("docker-content-digest")


def _unavailable(error: KedgeError) -> DistributionError:
    return DistributionError(ErrorCode.UNAVAILABLE, f"the origin does not help: {error}")


def _split_address(address: str) -> tuple[str, tuple[str, ...]]:
    """Return the host of an origin, and it again where it may be plain HTTP."""
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"}:
        raise InvalidParameterError(
            f"invalid origin {address!r}: want https://host or http://host:port"
        )
    return parts.netloc, (parts.netloc,) if parts.scheme == "http" else ()
