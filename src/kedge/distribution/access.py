"""Registries for programs without an engine: who asks is found by host, nothing is kept."""

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from kedge.distribution.client import RepositoryClient
from kedge.distribution.credentials import Credentials
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.retry import Retries
from kedge.distribution.routing import open_transport, registry_for
from kedge.oci.references import Reference

FindCredentials: TypeAlias = Callable[[str], Credentials]
"""From a reference's domain to who the user is there."""


class RegistryAccess:
    """Makes clients for repositories; thread-safe."""

    def __init__(self, settings: RegistrySettings, find_credentials: FindCredentials) -> None:
        self._settings = settings
        self._find_credentials = find_credentials
        self._transport = open_transport(settings)

    def client(
        self, reference: Reference, *, push: bool = False, mounts_from: Sequence[str] = ()
    ) -> RepositoryClient:
        """Return the repository of ``reference``.

        Args:
            reference: Its tag or digest does not matter.
            push: Whether something will be written.
            mounts_from: Repositories of the same registry that blobs may be mounted from.
        """
        return RepositoryClient(
            registry_for(reference.domain, self._settings),
            reference,
            transport=self._transport,
            credentials=self._find_credentials(reference.domain),
            new_retries=lambda: Retries(max_attempts=self._settings.max_attempts, pause=time.sleep),
            actions="pull,push" if push else "pull",
            more_scopes=[f"repository:{path}:pull" for path in mounts_from],
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        self._transport.close()
