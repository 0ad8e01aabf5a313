"""A registry as seen from one repository: manifests and blobs, tried until they work.

Vocabulary follows distribution-spec. Answers the registry's challenges, falls back to plain HTTP
where that is allowed, and retries what may pass: lost connections, 408, 429 and 5xx.
"""

import functools
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from kedge.distribution.auth import Authorizer
from kedge.distribution.challenge import parse_challenges
from kedge.distribution.credentials import Credentials
from kedge.distribution.endpoints import Endpoint
from kedge.distribution.failures import (
    ConnectionFailedError,
    RegistryRefusedError,
    load_json,
    parse_problem,
)
from kedge.distribution.retry import Retries
from kedge.distribution.transport import Answer, Transport
from kedge.errdefs import DataLossError, UnavailableError
from kedge.oci import media_types
from kedge.oci.digests import is_digest
from kedge.oci.hashing import has_digest, sha256_digest
from kedge.oci.references import Reference

_ACCEPTED_MANIFESTS: Final = ", ".join(
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
_PROBLEM_MAX_BYTES: Final = 1 << 16


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
    ) -> None:
        self._endpoint = endpoint
        self._path = reference.path
        self._transport = transport
        self._new_retries = new_retries
        self._scheme = ""
        self._scheme_lock = threading.Lock()
        self._authorizer = Authorizer(
            transport,
            credentials,
            host=endpoint.address,
            scope=f"repository:{reference.path}:pull",
            verify_tls=endpoint.verify_tls,
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where this asks."""
        return self._endpoint

    def manifest(self, tag_or_digest: str) -> RemoteManifest:
        """Return a manifest or index, verified against the digest where one is given.

        Raises:
            RegistryRefusedError: There is none, or it may not be read.
            DataLossError: The bytes are not what was asked for.
            UnavailableError: The registry cannot be reached or the document is too large.
        """
        path = f"manifests/{tag_or_digest}"

        def attempt() -> RemoteManifest:
            with self._get(path, {"accept": _ACCEPTED_MANIFESTS}) as answer:
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

    def _get(self, path: str, headers: dict[str, str]) -> Answer:
        """Send a GET and return its successful answer.

        Raises:
            RegistryRefusedError: The registry says no.
        """
        url = f"{self._endpoint.host}{self._endpoint.prefix}/v2/{self._path}/{path}"
        for _ in range(3):
            used = self._authorizer.header
            sent = {**headers, "authorization": used} if used else headers
            answer = self._send(url, sent)
            if answer.status in {200, 206}:
                return answer
            if answer.status == 416 and "range" in headers:
                answer.close()
                headers = {k: v for k, v in headers.items() if k != "range"}
                continue
            with answer:
                # The body belongs to this answer even if the next attempt succeeds.
                body = answer.read(_PROBLEM_MAX_BYTES)
                if answer.status == 401 and self._authorizer.answer(
                    answer, used, scheme=self._scheme
                ):
                    continue
                raise _refusal(answer, body)
        raise UnavailableError(
            f"registry {self._endpoint.address} asks for authentication again and again"
        )

    def _send(self, url: str, headers: dict[str, str]) -> Answer:
        scheme = self._scheme or self._find_scheme()
        return self._transport.send(
            "GET", f"{scheme}://{url}", headers, verify_tls=self._endpoint.verify_tls
        )

    def _find_scheme(self) -> str:
        """Return the scheme the endpoint speaks; asks it where both are allowed."""
        with self._scheme_lock:
            if self._scheme:
                return self._scheme
            if len(self._endpoint.schemes) == 1:
                self._scheme = self._endpoint.schemes[0]
                return self._scheme
            self._scheme = self._probe()
            return self._scheme

    def _probe(self) -> str:
        failure: ConnectionFailedError | None = None
        for scheme in self._endpoint.schemes:
            url = f"{scheme}://{self._endpoint.host}{self._endpoint.prefix}/v2/"
            try:
                self._transport.send("GET", url, {}, verify_tls=False).close()
            except ConnectionFailedError as error:
                if self._endpoint.has_port and not error.reached:
                    raise
                failure = error
            else:
                return scheme
        raise failure or UnavailableError(f"registry {self._endpoint.address} has no scheme")


def _refusal(answer: Answer, body: bytes) -> RegistryRefusedError:
    challenges = parse_challenges(answer.headers("www-authenticate"))
    problem = parse_problem(answer.status, answer.reason, body, challenges)
    retry_after = answer.header("retry-after").strip()
    if retry_after.isdigit():
        problem = replace(problem, retry_after_s=float(retry_after))
    return RegistryRefusedError(problem)
