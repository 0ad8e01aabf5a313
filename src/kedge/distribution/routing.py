"""Which hosts are asked for a repository, in which order."""

import os

from kedge.distribution.endpoints import (
    Endpoint,
    RegistrySettings,
    default_mirrors,
    default_registry,
)
from kedge.distribution.hosts import load_hosts
from kedge.distribution.transport import Transport
from kedge.oci.references import Reference


def endpoints_for(reference: Reference, settings: RegistrySettings) -> list[Endpoint]:
    """Return the endpoints to pull ``reference`` from; the registry itself is the last.

    Raises:
        InvalidParameterError: A mirror is not a URL, or ``hosts.toml`` says what is not honoured.
    """
    domain = reference.domain
    found = load_hosts(domain, settings.certs_directories, settings.insecure)
    if found is None:
        return [*default_mirrors(domain, settings), default_registry(domain, settings)]
    mirrors = [m for m in found.mirrors if m.can_resolve or reference.digest]
    return [*mirrors, found.server or default_registry(domain, settings)]


def registry_for(domain: str, settings: RegistrySettings) -> Endpoint:
    """Return where a reference's domain is written to, which no mirror ever is.

    Raises:
        InvalidParameterError: ``hosts.toml`` says what is not honoured.
    """
    found = load_hosts(domain, settings.certs_directories, settings.insecure)
    server = found.server if found else None
    return server or default_registry(domain, settings)


def open_transport(settings: RegistrySettings) -> Transport:
    """Return what sends requests as the configuration says."""
    return Transport(
        environ=os.environ if settings.proxies is None else settings.proxies,
        certs_directories=settings.certs_directories,
    )
