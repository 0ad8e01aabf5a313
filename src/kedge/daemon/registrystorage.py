"""Where a registry keeps what it has: this disk alone, or a bucket with this disk before it."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Final

from kedge.daemon.process import say
from kedge.daemon.registryconfig import RegistryConfig
from kedge.registry.bucket import Bucket
from kedge.registry.store import RegistryStore

_LOCAL_BYTES: Final = 10_000_000_000
"""What a registry with a bucket keeps on this disk unless it is told."""


@contextmanager
def open_registry_store(config: RegistryConfig) -> Generator[RegistryStore, None, None]:
    """Yield the store, filled from its bucket where the catalog is new.

    Raises:
        KedgeError: The bucket cannot be used.
    """
    with ExitStack() as undo:
        bucket = _open_bucket(config, undo) if config.s3_bucket else None
        store = RegistryStore(
            config.root,
            sparse=config.sparse or bool(config.origin),
            bucket=bucket,
            redirects=config.s3_redirect,
        )
        undo.callback(store.close)
        restored = store.restore()
        if restored is not None and restored.manifests:
            say(
                f"made the catalog from the bucket: {restored.manifests} manifests,"
                f" {restored.tags} tags, {restored.blobs} blobs"
            )
        limit = config.local_size
        if limit < 0 and bucket is not None:
            limit = _LOCAL_BYTES
        if limit >= 0:
            store.hold_below(limit)
        yield store


def _open_bucket(config: RegistryConfig, undo: ExitStack) -> Bucket:
    from kedge.registry.s3 import S3Objects, S3Settings  # noqa: PLC0415 - only where it is used

    name, _, prefix = config.s3_bucket.partition("/")
    settings = S3Settings(
        bucket=name,
        prefix=f"{prefix.strip('/')}/" if prefix.strip("/") else "",
        endpoint=config.s3_endpoint,
        region=config.s3_region,
    )
    objects = S3Objects(settings)
    undo.callback(objects.close)
    return Bucket(objects)
