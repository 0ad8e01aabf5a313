"""Which hosts a registry name means, in which order, and how far they are trusted.

Docker's rules: ``docker.io`` is served by ``registry-1.docker.io``, its mirrors come first;
loopback and hosts named in ``insecure-registries`` may speak plain HTTP or show any certificate.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from kedge.distribution.trust import Trust
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
    max_downloads: int = 3
    """Layers that are downloaded at the same time, over all pulls."""
    max_uploads: int = 5
    """Layers that are uploaded at the same time, over all pushes."""
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
    """Path before ``/v2/``; without a slash at its end."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Sent with every request to this host."""
    authorities: tuple[str, ...] = ()
    """Files with certificate authorities, besides those of ``certs.d``."""
    client_pairs: tuple[tuple[str, str], ...] = ()
    """Files with client certificates and their keys."""
    rewrites: tuple[tuple[str, str], ...] = ()
    """Regular expression and replacement for the repository's path; the first that fits counts."""

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


def endpoints_for(domain: str, settings: RegistrySettings) -> list[Endpoint]:
    """Return the endpoints of a reference's domain, the first to be asked first.

    Raises:
        InvalidParameterError: A configured mirror is not a URL.
    """
    if domain != DEFAULT_DOMAIN:
        return [_registry(domain, settings)]
    mirrors = [_mirror(url, settings) for url in settings.mirrors]
    return [*mirrors, _registry(_DOCKER_HUB_HOST, settings)]


def registry_for(domain: str, settings: RegistrySettings) -> Endpoint:
    """Return where a reference's domain is written to, which no mirror ever is."""
    return _registry(_DOCKER_HUB_HOST if domain == DEFAULT_DOMAIN else domain, settings)


def is_insecure(host: str, insecure: Sequence[str]) -> bool:
    """Tell whether a host may be talked to without valid TLS.

    Args:
        host: ``host`` or ``host:port``, as in a reference.
        insecure: The configured exceptions; loopback always is one.
    """
    name = _split_port(host)[0]
    address = _parse_address(name)
    if name == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in insecure:
        if entry in {host, name}:
            return True
        network = _parse_network(entry)
        if network is not None and address is not None and address in network:
            return True
    return False


def _registry(host: str, settings: RegistrySettings) -> Endpoint:
    if is_insecure(host, settings.insecure):
        return Endpoint(host=host, schemes=("https", "http"), verify_tls=False)
    return Endpoint(host=host)


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
