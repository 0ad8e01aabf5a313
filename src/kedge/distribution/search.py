"""Searching a registry for images, as ``docker search`` does.

There is no search in distribution-spec: Docker Hub's index, and what imitates it, answer
``GET /v1/search``. Mirrors of Docker Hub are asked first; one that has no search is passed over.
"""

from dataclasses import replace
from typing import Final, NamedTuple
from urllib.parse import urlencode

from kedge.distribution.credentials import ANONYMOUS, Credentials
from kedge.distribution.endpoints import Endpoint, RegistrySettings, default_registry
from kedge.distribution.exchange import Exchange
from kedge.distribution.failures import RegistryRefusedError, load_json
from kedge.distribution.hosts import load_hosts
from kedge.distribution.routing import endpoints_for, open_transport
from kedge.distribution.transport import Transport
from kedge.errdefs import InvalidParameterError, KedgeError, UnavailableError
from kedge.lib.jsontypes import Json
from kedge.oci.references import DEFAULT_DOMAIN, parse_name

LIMIT_MAX: Final = 100
_LIMIT_DEFAULT: Final = 25
_ANSWER_MAX_BYTES: Final = 4 << 20
_HUB_INDEX: Final = "index.docker.io"


class SearchResult(NamedTuple):
    """One repository."""

    name: str
    description: str
    stars: int
    is_official: bool


class RegistrySearcher:
    """Asks registries; thread-safe, each call blocks."""

    def __init__(self, settings: RegistrySettings, *, transport: Transport | None = None) -> None:
        self._settings = settings
        self._transport = transport or open_transport(settings)

    def search(
        self, term: str, limit: int = 0, credentials: Credentials = ANONYMOUS
    ) -> list[SearchResult]:
        """Return what the registry that ``term`` names, or Docker Hub, finds, in its order.

        Args:
            term: ``python`` or ``registry.example:5000/python``.
            limit: How many at most, to `LIMIT_MAX`; 0 for Docker's default.
            credentials: Of whoever asks; sent to the registry alone, never to a mirror.

        Raises:
            InvalidParameterError: A limit or a term that is none.
            UnavailableError: Nobody answers; the message names the host.
        """
        limit = limit or _LIMIT_DEFAULT
        if not 1 <= limit <= LIMIT_MAX:
            raise InvalidParameterError(f"limit {limit} is outside the range of [1, {LIMIT_MAX}]")
        domain, words = _split_term(term)
        path = f"search?{urlencode({'q': words, 'n': limit})}"
        *mirrors, index = self._endpoints(domain)
        for mirror in mirrors:
            try:
                return self._ask(mirror, path, ANONYMOUS)
            except KedgeError:  # as in a pull: the last one's word counts
                continue
        return self._ask(index, path, credentials)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._transport.close()

    def _endpoints(self, domain: str) -> list[Endpoint]:
        found = endpoints_for(parse_name(f"{domain}/library/x"), self._settings)
        configured = load_hosts(domain, self._settings.certs_directories, self._settings.insecure)
        if domain == DEFAULT_DOMAIN and not (configured and configured.server):
            found[-1] = default_registry(_HUB_INDEX, self._settings)
        return [replace(each, root="/v1") for each in found]

    def _ask(self, endpoint: Endpoint, path: str, credentials: Credentials) -> list[SearchResult]:
        exchange = Exchange(endpoint, transport=self._transport, credentials=credentials)
        try:
            with exchange.send("GET", path, {"x-docker-token": "true"}) as answer:
                document = load_json(answer.read(_ANSWER_MAX_BYTES))
        except RegistryRefusedError as error:
            raise UnavailableError(
                f"search at {endpoint.address} failed: {error.problem.message}"
            ) from error
        results = document.get("results") if isinstance(document, dict) else None
        if not isinstance(results, list):
            raise UnavailableError(
                f"search at {endpoint.address} failed: the answer is no list of results"
            )
        return [_result(item) for item in results if isinstance(item, dict)]


def _split_term(term: str) -> tuple[str, str]:
    """Return the registry's domain and what to look for there."""
    if not term.strip():
        raise InvalidParameterError("no term to search for: give term")
    if "://" in term:
        raise InvalidParameterError(
            f"invalid repository name: repository name ({term}) should not have a scheme"
        )
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        domain = DEFAULT_DOMAIN if first == _HUB_INDEX else first
        words = rest
    else:
        domain, words = DEFAULT_DOMAIN, term
    # Official images are found under their short name.
    return domain, words.removeprefix("library/") if domain == DEFAULT_DOMAIN else words


def _result(item: dict[str, Json]) -> SearchResult:
    name, description, stars = (item.get(key) for key in ("name", "description", "star_count"))
    return SearchResult(
        name=name if isinstance(name, str) else "",
        description=description if isinstance(description, str) else "",
        stars=stars if isinstance(stars, int) else 0,
        is_official=item.get("is_official") is True,
    )
