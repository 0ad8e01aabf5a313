"""A manifest on its way into a repository, under its digest or a tag."""

from typing import Final, Protocol

from kedge.distribution.client import RepositoryClient
from kedge.errdefs import DataLossError, InvalidParameterError
from kedge.oci import media_types
from kedge.oci.digests import is_digest

_STORED: Final = frozenset({200, 201, 202})


class Publishable(Protocol):
    """What is to be in the registry."""

    @property
    def media_type(self) -> str:
        """Of a manifest or an index."""
        ...

    @property
    def digest(self) -> str:
        """Of the bytes."""
        ...

    @property
    def data(self) -> bytes:
        """The bytes, kept as they are."""
        ...


def put_manifest(client: RepositoryClient, document: Publishable, tag: str) -> None:
    """Store ``document`` as ``tag``, or under its digest alone where there is no tag.

    Raises:
        RegistryRefusedError: The registry does not take it.
        DataLossError: The registry understood other bytes.
        InvalidParameterError: No registry would take a document that large.
    """
    if len(document.data) > media_types.MANIFEST_MAX_BYTES:
        raise InvalidParameterError(
            f"manifest {document.digest} has {len(document.data)} bytes, registries take at most"
            f" {media_types.MANIFEST_MAX_BYTES}"
        )

    def attempt() -> None:
        with client.exchange.send(
            "PUT",
            f"{client.repository}/manifests/{tag or document.digest}",
            {"content-type": document.media_type},
            body=document.data,
            expected=_STORED,
        ) as answer:
            stored = answer.header("docker-content-digest")
        algorithm = document.digest.partition(":")[0]
        if is_digest(stored) and stored.startswith(algorithm) and stored != document.digest:
            raise DataLossError(
                f"registry {client.endpoint.address} stored manifest {document.digest} as {stored}"
            )

    client.new_retries().run(attempt)
