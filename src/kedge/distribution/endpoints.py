"""Which hosts a registry name means, in which order, and how far they are trusted.

Docker's rules: ``docker.io`` is served by ``registry-1.docker.io``, its mirrors come first;
loopback and hosts named in ``insecure-registries`` may speak plain HTTP or show any certificate.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from kedge.distribution.trust import CERTS_DIRECTORIES, Trust
from kedge.errdefs import InvalidParameterError
from kedge.oci.references import DEFAULT_DOMAIN

_DOCKER_HUB_HOST: Final = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """What the engine's configuration says about registries."""

    mirrors: tuple[str, ...] = ()
    """URLs that are asked for Docker Hub's images before Docker Hub is."""
    insecure: tuple[str, ...] = ()
    """``host``, ``host:port`` or CIDR of registries that need no valid TLS."""
    certs_directories: tuple[str, ...] = CERTS_DIRECTORIES
    """Hold certificates and mirrors of single registries."""
    proxies: Mapping[str, str] | None = None
    """``http_proxy``, ``https_proxy`` and ``no_proxy``; the environment's where it is None."""
    max_downloads: int = 3
    """Layers that are downloaded at the same time, over all pulls."""
    max_uploads: int = 5
    """Layers that are uploaded at the same time, over all pushes."""
    range_bytes: int = 8 << 20
    """How much of a large layer one connection fetches at a time."""
    max_attempts: int = 5
    """How often a request is tried before its failure is final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One host that serves a registry's API."""

    host: str
    """``host`` or ``host:port``."""
    schemes: tuple[str, ...] = ("https",)
    """In the order in which they are tried."""
    verify_tls: bool = True
    is_mirror: bool = False
    prefix: str = ""
    """Path before ``root``; without a slash at its end."""
    root: str = "/v2"
    """Path of the API."""
    namespace: str = ""
    """Sent to a mirror of several registries, so that it knows which one is meant."""
    can_pull: bool = True
    can_resolve: bool = True
    """Whether its word counts for what a tag means."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Sent with every request to this host."""
    authorities: tuple[str, ...] = ()
    """Files with certificate authorities, besides those of ``certs.d``."""
    client_pairs: tuple[tuple[str, str], ...] = ()
    """Files with client certificates and their keys."""
    rewrites: tuple[tuple[str, str], ...] = ()
    """Regular expression and replacement for the repository's path; the first that fits counts."""

    @property
    def api(self) -> str:
        """Host and path of the API, with a slash at its end."""
        return f"{self.host}{self.prefix}{self.root}/"

    @property
    def trust(self) -> Trust:
        """What TLS must prove."""
        return Trust(self.verify_tls, self.host, self.authorities, self.client_pairs)

    def repository(self, path: str) -> str:
        """Return what the repository ``path`` is called there."""
        for pattern, replacement in self.rewrites:
            found = re.search(pattern, path)
            if found is not None:
                return found.expand(replacement).join((path[: found.start()], path[found.end() :]))
        return path

    @property
    def has_port(self) -> bool:
        """Whether the name says which port to use."""
        return bool(_split_port(self.host)[1])

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        if self.has_port:
            return self.host
        return f"{self.host}:{443 if self.schemes[0] == 'https' else 80}"


def default_mirrors(domain: str, settings: RegistrySettings) -> list[Endpoint]:
    """Return the mirrors that ``registry-mirrors`` names: of Docker Hub alone, as Docker has it.

    Raises:
        InvalidParameterError: One is not a URL.
    """
    if domain != DEFAULT_DOMAIN:
        return []
    return [_mirror(url, settings) for url in settings.mirrors]


def default_registry(domain: str, settings: RegistrySettings) -> Endpoint:
    """Return the host that a reference's domain names."""
    host = _DOCKER_HUB_HOST if domain == DEFAULT_DOMAIN else domain
    if is_insecure(host, settings.insecure):
        return Endpoint(host=host, schemes=("https", "http"), verify_tls=False)
    return Endpoint(host=host)


Lookup: TypeAlias = Callable[[str], Sequence[str]]
"""From a name to its addresses; none where it has none."""


def look_up(name: str) -> list[str]:
    """Return the addresses of a name, as the host's resolver knows them."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(name, None)]
    except OSError:
        return []


def is_insecure(host: str, insecure: Sequence[str], lookup: Lookup = look_up) -> bool:
    """Tell whether a host may be talked to without valid TLS.

    Args:
        host: ``host`` or ``host:port``, as in a reference.
        insecure: The configured exceptions; loopback always is one.
        lookup: Finds the addresses of a name where an exception is a CIDR.
    """
    name = _split_port(host)[0]
    address = _parse_address(name)
    if name == "localhost" or (address is not None and address.is_loopback):
        return True
    if host in insecure or name in insecure:
        return True
    networks = [network for network in map(_parse_network, insecure) if network is not None]
    if not networks:
        return False
    addresses = [address] if address else [_parse_address(text) for text in lookup(name)]
    return any(found in network for found in addresses if found for network in networks)


def _mirror(url: str, settings: RegistrySettings) -> Endpoint:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.username:
        raise InvalidParameterError(
            f'invalid mirror "{url}": use http://host or https://host, without user or query'
        )
    return Endpoint(
        host=parts.netloc,
        schemes=(parts.scheme,),
        verify_tls=not is_insecure(parts.netloc, settings.insecure),
        is_mirror=True,
        prefix=parts.path.rstrip("/"),
    )


def _split_port(host: str) -> tuple[str, str]:
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name, port.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port


def _parse_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _parse_network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False) if "/" in entry else None
    except ValueError:
        return None
