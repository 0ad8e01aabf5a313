"""Questions to a registry that need no store: is this login good, what is under that name."""

import time
from typing import Final, NamedTuple

from kedge.distribution.client import RemoteManifest, RepositoryClient
from kedge.distribution.credentials import ANONYMOUS, Credentials
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.exchange import Exchange
from kedge.distribution.failures import RegistryRefusedError, pull_failure
from kedge.distribution.retry import Retries
from kedge.distribution.routing import open_transport, registry_for
from kedge.distribution.transport import Transport
from kedge.errdefs import InvalidParameterError, UnauthorizedError, UnavailableError
from kedge.oci import media_types
from kedge.oci.image_spec import (
    parse_image_config,
    parse_index,
    parse_manifest,
    sniff_media_type,
)
from kedge.oci.platforms import Platform
from kedge.oci.references import DEFAULT_DOMAIN, Reference, parse_name

_CONFIG_MAX_BYTES: Final = 8 << 20
_DEFAULT_SETTINGS: Final = RegistrySettings()
HUB_ADDRESS: Final = "https://index.docker.io/v1/"
"""What Docker calls Docker Hub in its credentials; nothing is asked there."""


class RemoteImage(NamedTuple):
    """What a registry has under a name."""

    media_type: str
    digest: str
    size: int
    platforms: tuple[Platform, ...]


class RegistryInspector:
    """Asks registries; thread-safe, each call blocks."""

    def __init__(
        self, settings: RegistrySettings = _DEFAULT_SETTINGS, *, transport: Transport | None = None
    ) -> None:
        self._settings = settings
        self._transport = transport or open_transport(settings)

    def login(self, address: str, credentials: Credentials) -> str:
        """Return when the registry at ``address`` accepts the credentials.

        Args:
            address: What the user named, or `HUB_ADDRESS`.
            credentials: To be checked.

        Returns:
            An identity token to keep instead of the password; empty where there is none.

        Raises:
            UnauthorizedError: It does not, and why.
            UnavailableError: It cannot be asked.
        """
        endpoint = registry_for(parse_registry_address(address), self._settings)
        exchange = Exchange(
            endpoint, transport=self._transport, credentials=credentials, wants_identity=True
        )
        try:
            exchange.send("GET", "").close()
        except RegistryRefusedError as error:
            problem = error.problem
            url = exchange.resolve("")
            if problem.status in {401, 403}:
                raise UnauthorizedError(
                    f"login attempt to {url} failed with status: {problem.status}:"
                    f" {problem.message}"
                ) from error
            raise UnavailableError(f"login attempt to {url} failed: {problem.message}") from error
        return exchange.identity_token

    def inspect(self, reference: Reference, credentials: Credentials = ANONYMOUS) -> RemoteImage:
        """Return what the registry itself, no mirror, has under ``reference``.

        Raises:
            KedgeError: One line, Docker's text where it has one.
        """
        reference = reference.with_default_tag()
        endpoint = registry_for(reference.domain, self._settings)
        client = RepositoryClient(
            endpoint,
            reference,
            transport=self._transport,
            credentials=credentials,
            new_retries=lambda: Retries(max_attempts=self._settings.max_attempts, pause=time.sleep),
        )
        try:
            found = client.manifest(reference.digest or reference.tag)
            media_type = sniff_media_type(found.data)
            platforms = _platforms(client, found, media_type)
        except RegistryRefusedError as error:
            raise pull_failure(error.problem, reference, endpoint.address) from error
        return RemoteImage(media_type, found.digest, len(found.data), platforms)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._transport.close()


def parse_registry_address(address: str) -> str:
    """Return the domain that a server address of a login means.

    Raises:
        InvalidParameterError: It names no host.
    """
    host = address.strip()
    for scheme in ("https://", "http://"):
        host = host.removeprefix(scheme)
    host = host.partition("/")[0]
    if host in {"", "index.docker.io", "registry-1.docker.io", DEFAULT_DOMAIN}:
        return DEFAULT_DOMAIN
    try:
        return parse_name(f"{host}/x/y").domain
    except InvalidParameterError:
        raise InvalidParameterError(
            f'invalid registry address "{host}": want HOST or HOST:PORT'
        ) from None


def _platforms(
    client: RepositoryClient, found: RemoteManifest, media_type: str
) -> tuple[Platform, ...]:
    if media_type in media_types.INDEXES:
        entries = [entry.image_platform() for entry in parse_index(found.data).manifests]
        return tuple(entry for entry in entries if entry is not None)
    if media_type not in media_types.MANIFESTS:
        return ()
    config = parse_manifest(found.data).config
    if config.media_type not in media_types.CONFIGS:
        return ()
    data = client.small_blob(config.digest, _CONFIG_MAX_BYTES)
    return (parse_image_config(data).image_platform(),)
