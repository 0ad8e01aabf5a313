"""A registry as seen from one repository: manifests and blobs, tried until they work.

Vocabulary follows distribution-spec. Answers the registry's challenges, falls back to plain HTTP
where that is allowed, and retries what may pass: lost connections, 408, 429 and 5xx.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from kedge.distribution.credentials import Credentials
from kedge.distribution.endpoints import Endpoint
from kedge.distribution.exchange import Exchange
from kedge.distribution.failures import RegistryRefusedError, load_json
from kedge.distribution.retry import Retries
from kedge.distribution.transport import Answer, Transport
from kedge.errdefs import DataLossError
from kedge.oci import media_types
from kedge.oci.digests import is_digest
from kedge.oci.hashing import has_digest, sha256_digest
from kedge.oci.references import Reference

ACCEPTED_MANIFESTS: Final = ", ".join(
    [
        media_types.OCI_INDEX,
        media_types.DOCKER_INDEX,
        media_types.OCI_MANIFEST,
        media_types.DOCKER_MANIFEST,
        media_types.DOCKER_SCHEMA1_SIGNED,
    ]
)
_NEXT_LINK: Final = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_MAX_TAG_PAGES: Final = 1000
_PARTIAL: Final = frozenset({200, 206})


class RemoteManifest(NamedTuple):
    """A manifest or index as the registry sent it."""

    media_type: str
    """The ``Content-Type``, without parameters."""
    data: bytes
    digest: str


class RepositoryClient:
    """One repository on one endpoint; thread-safe."""

    def __init__(
        self,
        endpoint: Endpoint,
        reference: Reference,
        *,
        transport: Transport,
        credentials: Credentials,
        new_retries: Callable[[], Retries],
        actions: str = "pull",
        more_scopes: Sequence[str] = (),
    ) -> None:
        """Ask nothing yet.

        Args:
            endpoint: Where the registry is.
            reference: Names the repository.
            transport: Sends.
            credentials: Who asks.
            new_retries: Counts the attempts at one thing.
            actions: What for: ``pull`` or ``pull,push``.
            more_scopes: Other repositories that are read on the way.
        """
        self._path = endpoint.repository(reference.path)
        self._new_retries = new_retries
        scope = f"repository:{self._path}:{actions}"
        self.exchange = Exchange(
            endpoint,
            transport=transport,
            credentials=credentials,
            scopes=(scope, *more_scopes),
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where this asks."""
        return self.exchange.endpoint

    @property
    def repository(self) -> str:
        """The repository's path at the registry."""
        return self._path

    def new_retries(self) -> Retries:
        """Return a fresh count of attempts."""
        return self._new_retries()

    def manifest(self, tag_or_digest: str) -> RemoteManifest:
        """Return a manifest or index, verified against the digest where one is given.

        Raises:
            RegistryRefusedError: There is none, or it may not be read.
            DataLossError: The bytes are not what was asked for.
            UnavailableError: The registry cannot be reached or the document is too large.
        """
        path = f"manifests/{tag_or_digest}"

        def attempt() -> RemoteManifest:
            with self._get(path, {"accept": ACCEPTED_MANIFESTS}) as answer:
                data = answer.read(media_types.MANIFEST_MAX_BYTES)
                media_type = answer.header("content-type").partition(";")[0].strip()
                announced = answer.header("docker-content-digest")
            wanted = tag_or_digest if is_digest(tag_or_digest) else announced
            if is_digest(wanted) and not has_digest(data, wanted):
                raise DataLossError(f"manifest verification failed for digest {wanted}")
            digest = wanted if is_digest(tag_or_digest) else sha256_digest(data)
            return RemoteManifest(media_type, data, digest)

        return self._new_retries().run(attempt)

    def tags(self) -> list[str]:
        """Return every tag of the repository, page by page.

        Raises:
            RegistryRefusedError: There is no such repository, or it may not be read.
            UnavailableError: The registry cannot be reached or answers nonsense.
        """
        tags: list[str] = []
        path = "tags/list?n=1000"
        for _ in range(_MAX_TAG_PAGES):
            page, path = self._new_retries().run(functools.partial(self._tag_page, path))
            tags += page
            if not path:
                break
        return tags

    def _tag_page(self, path: str) -> tuple[list[str], str]:
        """Return the tags of a page and the path of the next one, empty behind the last."""
        with self._get(path, {}) as answer:
            document = load_json(answer.read(media_types.MANIFEST_MAX_BYTES))
            link = _NEXT_LINK.search(answer.header("link"))
        tags = document.get("tags") if isinstance(document, dict) else None
        # A repository whose tags were all deleted has null for a list.
        names = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
        query = urlsplit(link[1]).query if link else ""
        return names, f"tags/list?{query}" if query and names else ""

    def small_blob(self, digest: str, limit: int) -> bytes:
        """Return a blob that fits in memory, verified.

        Raises:
            RegistryRefusedError: There is none.
            DataLossError: The bytes are not what was asked for.
            UnavailableError: The registry cannot be reached or the blob is too large.
        """

        def attempt() -> bytes:
            with self._get(f"blobs/{digest}", {}) as answer:
                data = answer.read(limit)
            if not has_digest(data, digest):
                raise DataLossError(f"the bytes of blob {digest} do not match its digest")
            return data

        return self._new_retries().run(attempt)

    def open_blob(self, digest: str, offset: int) -> tuple[Answer, int]:
        """Begin to read a blob; return the answer and where in the blob its body begins.

        One attempt: whoever reads the body knows how to go on when it breaks off.

        Args:
            digest: The blob.
            offset: First byte wanted; a server that cannot do that begins at zero.
        """
        headers = {"range": f"bytes={offset}-"} if offset else {}
        answer = self._get(f"blobs/{digest}", headers)
        if answer.status != 206:
            return answer, 0
        start = answer.header("content-range").removeprefix("bytes ").partition("-")[0]
        if start.strip() != str(offset):
            answer.close()
            answer = self._get(f"blobs/{digest}", {})
            return answer, 0
        return answer, offset

    def open_range(self, digest: str, start: int, end: int) -> Answer | None:
        """Begin to read the bytes from ``start`` up to ``end``; None where the server cannot."""
        answer = self._get(f"blobs/{digest}", {"range": f"bytes={start}-{end - 1}"})
        content_range = answer.header("content-range").removeprefix("bytes ")
        if answer.status == 206 and content_range.partition("/")[0].strip() == f"{start}-{end - 1}":
            return answer
        answer.close()
        return None

    def _get(self, path: str, headers: dict[str, str]) -> Answer:
        """Send a GET and return its successful answer.

        Raises:
            RegistryRefusedError: The registry says no.
        """
        try:
            return self.exchange.send("GET", f"{self._path}/{path}", headers, expected=_PARTIAL)
        except RegistryRefusedError as error:
            if error.problem.status != 416 or "range" not in headers:
                raise
        headers = {key: value for key, value in headers.items() if key != "range"}
        return self.exchange.send("GET", f"{self._path}/{path}", headers)
