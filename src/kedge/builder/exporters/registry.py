"""``registry`` output: a result on its way into a repository.

The order of distribution-spec: layers and configurations, then manifests, then the index; nothing
is named before everything it names is there.
"""

import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Final, Protocol

from kedge.builder.exporters.documents import Bundle
from kedge.content.store import ContentStore
from kedge.distribution.client import RepositoryClient
from kedge.distribution.failures import RegistryRefusedError, push_failure
from kedge.distribution.places import Document
from kedge.distribution.publishing import put_manifest
from kedge.distribution.upload import Source, ensure_blob
from kedge.oci import media_types
from kedge.oci.image_spec import Descriptor
from kedge.oci.references import Reference

_AT_ONCE: Final = 4


class Registries(Protocol):
    """Opens repositories as the user of one build."""

    def client(self, reference: Reference, *, push: bool = False) -> RepositoryClient:
        """Return the repository of ``reference``."""
        ...


def push_bundle(
    bundle: Bundle,
    reference: Reference,
    registries: Registries,
    content: ContentStore,
    check: Callable[[], None],
    *,
    by_digest: bool = False,
) -> None:
    """Put a result into the repository of ``reference``, under its tag unless ``by_digest``.

    Raises:
        KedgeError: In Docker's words where it has some.
    """
    client = registries.client(reference, push=True)
    manifests = {each.digest for each in bundle.manifests}
    small = {key: data for key, data in bundle.documents.items() if key not in manifests}
    stored = [
        blob
        for digest, blob in bundle.layers.items()
        if digest not in bundle.documents and not blob.is_foreign
    ]
    try:
        push_blobs(client, stored, content.open, check)
        push_blobs(
            client,
            [Descriptor(media_types.OCI_CONFIG, key, len(data)) for key, data in small.items()],
            lambda digest: io.BytesIO(small[digest]),
            check,
        )
        for manifest in bundle.manifests:
            check()
            is_named = manifest.digest == bundle.root.digest and not by_digest
            data = bundle.documents[manifest.digest]
            document = Document(manifest.media_type, manifest.digest, data)
            put_manifest(client, document, reference.tag if is_named else "")
    except RegistryRefusedError as error:
        raise push_failure(error.problem, reference, client.endpoint.address) from error


def push_blobs(
    client: RepositoryClient,
    blobs: Iterable[Descriptor],
    open_blob: Callable[[str], BinaryIO],
    check: Callable[[], None],
) -> None:
    """Return when the repository has all ``blobs``, several at a time."""

    def on_sent(_sent: int) -> None:
        check()

    def push(blob: Descriptor) -> None:
        check()
        source = Source(lambda: open_blob(blob.digest), on_sent)
        ensure_blob(client, blob, source)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="kedge-export") as pool:
        for done in [pool.submit(push, blob) for blob in blobs]:
            done.result()
