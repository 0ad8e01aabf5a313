"""Registries from the command line, without an engine: the one way from here to them.

Only the verbs that copy between registries and make indexes import this, and what it imports is
loaded for them alone (docs/adr/0006-client-and-registries.md).
"""

import os

from kedge.cli.flags import Flag, Options, switch
from kedge.client.credentials import CredentialStore, config_directory
from kedge.distribution.access import RegistryAccess
from kedge.distribution.credentials import ANONYMOUS, Credentials
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.manifestlists import ManifestLists

INSECURE: Flag = switch("insecure", "Allow registries without valid TLS")


def open_access(options: Options) -> RegistryAccess:
    """Return what asks registries as the user who runs this."""
    everything = ("0.0.0.0/0", "::/0") if options.on("insecure") else ()
    return RegistryAccess(RegistrySettings(insecure=everything), find_credentials)


def find_credentials(domain: str) -> Credentials:
    """Return who the user is at a registry."""
    login = CredentialStore(config_directory(os.environ)).find(domain)
    if login is None:
        return ANONYMOUS
    return Credentials(
        username=login.username,
        password=login.password,
        identity_token=login.identity_token,
        registry_token=login.registry_token,
    )


def manifest_lists() -> ManifestLists:
    """Return the lists this user is making."""
    return ManifestLists(os.path.join(config_directory(os.environ), "kedge-manifests"))
