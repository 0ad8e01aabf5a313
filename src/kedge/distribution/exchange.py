"""Requests to one registry that get an answer: scheme found, challenge answered, failure read.

One attempt each, apart from the second one after a challenge: whoever asks knows whether trying
again is safe. Vocabulary follows distribution-spec; paths are relative to ``/v2/``.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final, TypeAlias
from urllib.parse import quote, urljoin, urlsplit

from kedge.distribution.auth import Authorizer
from kedge.distribution.challenge import parse_challenges
from kedge.distribution.credentials import Credentials
from kedge.distribution.endpoints import Endpoint
from kedge.distribution.failures import (
    ConnectionFailedError,
    RegistryRefusedError,
    describe_rate_limit,
    parse_problem,
)
from kedge.distribution.transport import Answer, Transport, check_redirect, has_same_origin
from kedge.errdefs import UnavailableError

_PROBLEM_MAX_BYTES: Final = 1 << 16
_OK: Final = frozenset({200})
_ATTEMPTS: Final = 3

Payload: TypeAlias = "bytes | Callable[[], Iterable[bytes]] | None"
"""A body; pieces come from a function, because after a challenge they are sent once more."""


class Exchange:
    """One endpoint, asked with one user's credentials for one set of scopes; thread-safe."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        transport: Transport,
        credentials: Credentials,
        scopes: tuple[str, ...] = (),
        wants_identity: bool = False,
    ) -> None:
        """Ask nothing yet.

        Args:
            endpoint: Where to ask.
            transport: Sends.
            credentials: Who asks.
            scopes: What for, as token services name it.
            wants_identity: Also ask for an identity token; `identity_token` has it then.
        """
        self.endpoint = endpoint
        self._transport = transport
        self._scheme = ""
        self._scheme_lock = threading.Lock()
        self._authorizer = Authorizer(
            transport,
            credentials,
            host=endpoint.address,
            scopes=scopes,
            trust=endpoint.trust,
            wants_identity=wants_identity,
        )

    @property
    def identity_token(self) -> str:
        """What the token service gave for later; empty without one."""
        return self._authorizer.identity_token

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: Payload = None,
        expected: AbstractSet[int] = _OK,
    ) -> Answer:
        """Send a request and return its answer, which has one of the ``expected`` statuses.

        Args:
            method: HTTP method.
            path: Relative to ``/v2/``, or a URL that the registry gave as ``Location``.
            headers: More headers; a body in pieces needs its ``content-length``.
            body: What to send.
            expected: Statuses of success.

        Raises:
            RegistryRefusedError: The registry says no.
            ConnectionFailedError: There is no answer.
            UnauthorizedError: Credentials are needed and there are none.
        """
        url = self.resolve(path)
        scheme = urlsplit(url).scheme
        is_home = has_same_origin(url, self.resolve(""))
        sent = {**self.endpoint.headers, **(headers or {})} if is_home else {**(headers or {})}
        for _ in range(_ATTEMPTS):
            used = self._authorizer.header
            fields = {**sent, "authorization": used} if used and is_home else sent
            answer = self._transport.send(
                method,
                url,
                fields,
                trust=self.endpoint.trust,
                body=body() if callable(body) else body,
            )
            if answer.status in expected:
                return answer
            with answer:
                # The body belongs to this answer even if the next attempt succeeds.
                text = b"" if method == "HEAD" else answer.read(_PROBLEM_MAX_BYTES)
                again = is_home and answer.status == 401
                if again and self._authorizer.answer(answer, used, scheme=scheme):
                    continue
                raise _refusal(answer, text)
        raise UnavailableError(
            f"registry {self.endpoint.address} asks for authentication again and again"
        )

    def resolve(self, location: str) -> str:
        """Return the URL of a path below ``/v2/`` or of a ``Location`` the registry gave.

        Raises:
            UnavailableError: The registry leads from TLS to plain HTTP.
        """
        endpoint = self.endpoint
        base = f"{self._scheme or self._find_scheme()}://{endpoint.api}"
        if not location.startswith(("http://", "https://", "/")):
            if endpoint.namespace and location:
                location += f"{'&' if '?' in location else '?'}ns={quote(endpoint.namespace)}"
            return f"{base}{location}"
        url = urljoin(base, location)
        parts = urlsplit(url)
        if parts.scheme == "http" and base.startswith("https://") and parts.netloc == endpoint.host:
            # A registry behind a proxy that ends TLS does not know how it is spoken to.
            return parts._replace(scheme="https").geturl()
        check_redirect(base, url, "registry", verify_tls=endpoint.verify_tls)
        return url

    def _find_scheme(self) -> str:
        """Return the scheme the endpoint speaks; asks it where both are allowed."""
        with self._scheme_lock:
            if self._scheme:
                return self._scheme
            if len(self.endpoint.schemes) == 1:
                self._scheme = self.endpoint.schemes[0]
                return self._scheme
            self._scheme = self._probe()
            return self._scheme

    def _probe(self) -> str:
        endpoint = self.endpoint
        failure: ConnectionFailedError | None = None
        for scheme in endpoint.schemes:
            url = f"{scheme}://{endpoint.api}"
            try:
                self._transport.send("GET", url, {}, trust=endpoint.trust).close()
            except ConnectionFailedError as error:
                if endpoint.has_port and not error.reached:
                    raise
                failure = error
            else:
                return scheme
        raise failure or UnavailableError(f"registry {endpoint.address} has no scheme")


def _refusal(answer: Answer, body: bytes) -> RegistryRefusedError:
    challenges = parse_challenges(answer.headers("www-authenticate"))
    problem = parse_problem(answer.status, answer.reason, body, challenges)
    retry_after = answer.header("retry-after").strip()
    if retry_after.isdigit():
        problem = replace(problem, retry_after_s=float(retry_after))
    if answer.status == 429:
        limit = describe_rate_limit(
            answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")
        )
        problem = replace(problem, message=f"{problem.message}{limit}")
    return RegistryRefusedError(problem)
