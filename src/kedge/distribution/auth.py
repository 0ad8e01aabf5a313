"""Getting past a registry's door: bearer tokens from its token service, or basic authentication.

Follows distribution's token specification: anonymous or basic ``GET`` on the realm, or an OAuth 2
``POST`` with an identity token. Credentials go to the registry that was named and to the realm it
names over TLS; nowhere else.
"""

import threading
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit

from kedge.distribution.challenge import Challenge, parse_challenges
from kedge.distribution.credentials import Credentials
from kedge.distribution.endpoints import is_insecure
from kedge.distribution.failures import load_json, parse_problem
from kedge.distribution.transport import Answer, Transport
from kedge.distribution.trust import Trust
from kedge.errdefs import UnauthorizedError, UnavailableError

_CLIENT_ID: Final = "kedge"
_TOKEN_MAX_BYTES: Final = 1 << 20


class Authorizer:
    """The ``Authorization`` header for one repository on one host; thread-safe."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        *,
        host: str,
        scopes: Sequence[str],
        trust: Trust,
        wants_identity: bool = False,
    ) -> None:
        """Ask nothing yet.

        Args:
            transport: Sends.
            credentials: Who asks.
            host: The registry, for messages.
            scopes: What is wanted; the first gives way to the scope of a challenge.
            trust: Of the registry, also for its token service.
            wants_identity: Ask for a refresh token, too.
        """
        self._transport = transport
        self._credentials = credentials
        self._host = host
        self._scopes = tuple(scopes)
        self._trust = trust
        self._wants_identity = wants_identity
        self._lock = threading.Lock()
        self._header = ""
        self.identity_token = ""
        """The refresh token that came with the last token, where one was asked for."""
        if credentials.registry_token:
            self._header = f"Bearer {credentials.registry_token}"

    @property
    def header(self) -> str:
        """The header that was good last; empty before the first challenge."""
        return self._header

    def answer(self, answer: Answer, used: str, *, scheme: str) -> bool:
        """Get a new header after a 401; tell whether trying again makes sense.

        Args:
            answer: The response that refused.
            used: The header the refused request carried.
            scheme: Of the request; credentials for a TLS registry never leave TLS.

        Raises:
            UnauthorizedError: Credentials are needed and there are none.
            UnavailableError: The token service does not give a token.
        """
        challenges = parse_challenges(answer.headers("www-authenticate"))
        with self._lock:
            if self._header != used:
                return True
            header = self._find_header(challenges, scheme)
            if not header or (header == used and header.startswith("Basic ")):
                return False
            self._header = header
            return True

    def _find_header(self, challenges: Sequence[Challenge], scheme: str) -> str:
        for challenge in challenges:
            if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                if challenge.parameters.get("error") == "insufficient_scope" and self._header:
                    return ""
                return f"Bearer {self._fetch_token(challenge, scheme)}"
        for challenge in challenges:
            if challenge.scheme == "basic":
                if not self._credentials.password:
                    raise UnauthorizedError(
                        f"registry {self._host}: no basic auth credentials; log in to it first"
                    )
                return self._credentials.basic()
        return ""

    def _fetch_token(self, challenge: Challenge, scheme: str) -> str:
        realm = challenge.parameters["realm"]
        self._check_realm(realm, scheme)
        fields = {"scope": _merge_scopes(challenge.parameters.get("scope", ""), self._scopes)}
        if not fields["scope"]:
            del fields["scope"]
        service = challenge.parameters.get("service")
        if service:
            fields["service"] = service
        with self._ask(realm, fields) as answer:
            body = answer.read(_TOKEN_MAX_BYTES)
            if answer.status != 200:
                found = parse_challenges(answer.headers("www-authenticate"))
                problem = parse_problem(answer.status, answer.reason, body, found)
                message = f"registry {self._host}: no token from {realm}: {problem.message}"
                if answer.status in {401, 403}:
                    raise UnauthorizedError(message)
                raise UnavailableError(message)
        token, identity = _parse_tokens(body)
        if self._wants_identity:
            self.identity_token = identity
        if not token:
            raise UnavailableError(f"registry {self._host}: {realm} answers without a token")
        return token

    def _ask(self, realm: str, fields: dict[str, str]) -> Answer:
        credentials = self._credentials
        if credentials.identity_token:
            form = {
                **fields,
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "client_id": _CLIENT_ID,
            }
            return self._transport.send(
                "POST",
                realm,
                {"content-type": "application/x-www-form-urlencoded"},
                body=urlencode(form).encode(),
                trust=self._trust,
            )
        headers: dict[str, str] = {}
        if credentials.password:
            headers["authorization"] = credentials.basic()
            fields = {**fields, "account": credentials.username}
            if self._wants_identity:
                fields |= {"offline_token": "true", "client_id": _CLIENT_ID}
        separator = "&" if urlsplit(realm).query else "?"
        # A scope may list several resources; each is a parameter of its own.
        pairs = [(k, part) for k, v in fields.items() for part in _split_scope(k, v)]
        url = f"{realm}{separator}{urlencode(pairs)}"
        return self._transport.send("GET", url, headers, trust=self._trust)

    def _check_realm(self, realm: str, scheme: str) -> None:
        parts = urlsplit(realm)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UnavailableError(f'registry {self._host} names "{realm}" as its token service')
        plain = parts.scheme == "http" and not is_insecure(parts.hostname, ())
        if plain and scheme == "https" and not self._credentials.is_anonymous:
            raise UnavailableError(
                f"registry {self._host} wants credentials to be sent to {realm} without TLS"
            )


def _split_scope(key: str, value: str) -> list[str]:
    return value.split() if key == "scope" else [value]


def _merge_scopes(challenged: str, wanted: Sequence[str]) -> str:
    """Return the scopes to ask for: the registry's own name for the first, then the others.

    A registry that stores repositories elsewhere names them differently, so its word counts; but
    a question that only needs ``pull`` must not get a token that the push after it cannot use.
    """
    scopes: list[str] = []
    for scope in challenged.split() or wanted[:1]:
        resource = scope.rpartition(":")[0]
        scopes.append(next((s for s in wanted if s.rpartition(":")[0] == resource), scope))
    return " ".join(dict.fromkeys([*scopes, *wanted[1:]]))


def _parse_tokens(body: bytes) -> tuple[str, str]:
    """Return the bearer token and the refresh token; what is missing is empty."""
    document = load_json(body)
    if not isinstance(document, dict):
        return "", ""
    token = document.get("token") or document.get("access_token")
    identity = document.get("refresh_token")
    # A line break in a token would end the header it is put in.
    return (
        token if isinstance(token, str) and token.isprintable() else "",
        identity if isinstance(identity, str) and identity.isprintable() else "",
    )
