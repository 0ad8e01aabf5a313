"""From a name to one image for one platform: index, manifest and config, verified and checked."""

from collections.abc import Callable
from typing import Final, NamedTuple

from kedge.content.store import ContentStore
from kedge.distribution.client import RemoteManifest, RepositoryClient
from kedge.errdefs import DataLossError, NotFoundError, NotSupportedError
from kedge.oci import media_types
from kedge.oci.digests import is_digest
from kedge.oci.hashing import has_digest
from kedge.oci.image_spec import (
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    parse_image_config,
    parse_index,
    parse_manifest,
    sniff_media_type,
)
from kedge.oci.platforms import Platform, best_match, compatible_platforms, host_platform
from kedge.oci.references import Reference

_CONFIG_MAX_BYTES: Final = 8 << 20
_MAX_INDEX_DEPTH: Final = 4
_SILENT_TYPES: Final = frozenset({"", "application/json", "text/plain", "application/octet-stream"})


class ResolvedImage(NamedTuple):
    """What a name means for one platform."""

    digest: str
    """Of what the name names: the index where there is one."""
    manifest: Manifest
    descriptor: Descriptor
    """Of the manifest."""
    documents: tuple[str, ...]
    """Digests of every document on the way, all of them stored."""
    config: ImageConfig


class Resolver:
    """Fetches the documents of one pull and stores them under a lease."""

    def __init__(
        self,
        client: RepositoryClient,
        content: ContentStore,
        reference: Reference,
        *,
        protect: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            client: The repository.
            content: Where documents are kept.
            reference: What the user asked for.
            protect: Leases a digest before it is stored.
        """
        self._client = client
        self._content = content
        self._reference = reference
        self._protect = protect
        self._documents: list[str] = []

    def resolve(self, platform: Platform | None) -> ResolvedImage:
        """Return the image for ``platform``, this machine's where it is None.

        Raises:
            NotFoundError: Nothing there for that platform.
            NotSupportedError: Not an image this engine can run.
            DataLossError: A document does not match its digest or contradicts another.
        """
        document = self._fetch(self._reference.digest or self._reference.tag)
        media_type = self._media_type(document)
        top = document.digest
        for _ in range(_MAX_INDEX_DEPTH):
            if media_type not in media_types.INDEXES:
                break
            self._keep(document)
            entry = self._choose(parse_index(document.data), platform or host_platform())
            document = self._fetch(entry.digest)
            media_type = self._media_type(document)
            _check_entry(entry, document, media_type)
        manifest = self._parse_manifest(document, media_type)
        self._keep(document)
        config = self._config(manifest)
        self._check_platform(config, platform)
        return ResolvedImage(
            digest=top,
            manifest=manifest,
            descriptor=Descriptor(media_type, document.digest, len(document.data)),
            documents=tuple(self._documents),
            config=config,
        )

    def _fetch(self, tag_or_digest: str) -> RemoteManifest:
        """Return a document, from the store where it is named by digest and there already."""
        if is_digest(tag_or_digest):
            self._protect(tag_or_digest)
            if self._content.exists(tag_or_digest):
                return RemoteManifest("", self._content.read(tag_or_digest), tag_or_digest)
        return self._client.manifest(tag_or_digest)

    def _media_type(self, document: RemoteManifest) -> str:
        """Return the type both header and document agree on (image-spec, "mediaType")."""
        inner = sniff_media_type(document.data)
        header = document.media_type
        if header in media_types.SCHEMA1 or inner in media_types.SCHEMA1:
            raise NotSupportedError(
                f"{self._reference.familiar()} is an image of manifest schema 1, which is no longer"
                " supported: push it again with a current tool"
            )
        if header not in _SILENT_TYPES and header != inner:
            raise DataLossError(
                f"manifest {document.digest} says it is {inner}, but the registry says {header}"
            )
        return inner

    def _parse_manifest(self, document: RemoteManifest, media_type: str) -> Manifest:
        name = self._reference.familiar()
        if media_type not in media_types.MANIFESTS:
            raise NotSupportedError(f"{name} is of type {media_type}, which is no image")
        manifest = parse_manifest(document.data)
        if manifest.config.media_type not in media_types.CONFIGS:
            kind = manifest.artifact_type or manifest.config.media_type
            raise NotSupportedError(f"{name} is an artifact of type {kind}, not a container image")
        for layer in manifest.layers:
            if layer.media_type not in media_types.LAYERS:
                raise NotSupportedError(
                    f"{name} has a layer of type {layer.media_type}, which cannot be unpacked"
                )
        return manifest

    def _config(self, manifest: Manifest) -> ImageConfig:
        digest = manifest.config.digest
        self._protect(digest)
        if self._content.exists(digest):
            data = self._content.read(digest)
        else:
            data = self._client.small_blob(digest, _CONFIG_MAX_BYTES)
            self._store(digest, data)
        config = parse_image_config(data)
        if len(config.rootfs.diff_ids) != len(manifest.layers):
            raise DataLossError(
                f"layers from manifest don't match image configuration: {len(manifest.layers)}"
                f" layers, {len(config.rootfs.diff_ids)} diff_ids"
            )
        return config

    def _keep(self, document: RemoteManifest) -> None:
        self._protect(document.digest)
        self._documents.append(document.digest)
        self._store(document.digest, document.data)

    def _store(self, digest: str, data: bytes) -> None:
        if not self._content.exists(digest):
            self._content.put(data, digest=digest)

    def _choose(self, index: Index, platform: Platform) -> Descriptor:
        offered = [entry.image_platform() for entry in index.manifests]
        position = best_match(platform, offered)
        if position is None:
            entries = ", ".join(dict.fromkeys(str(p) for p in offered if p and p.os != "unknown"))
            # compat: Docker ends behind "entries"; we say which ones there are.
            raise NotFoundError(
                f"no matching manifest for {platform} in the manifest list entries:"
                f" {entries or 'there are none'}"
            )
        return index.manifests[position]

    def _check_platform(self, config: ImageConfig, platform: Platform | None) -> None:
        """Refuse a single image that is not for the platform the user insists on."""
        if platform is None or not config.architecture:
            return
        actual = config.image_platform().normalized()
        fitting = {wanted[:3] for wanted in compatible_platforms(platform)}
        if actual[:3] not in fitting and (*actual[:2], "") not in fitting:
            raise NotFoundError(
                f"image with reference {self._reference.familiar()} was found but its platform"
                f" ({actual}) does not match the specified platform ({platform})"
            )


def _check_entry(entry: Descriptor, document: RemoteManifest, media_type: str) -> None:
    if len(document.data) != entry.size or not has_digest(document.data, entry.digest):
        raise DataLossError(
            f"manifest {entry.digest} has {len(document.data)} bytes, its index says {entry.size}"
        )
    if media_type != entry.media_type:
        raise DataLossError(
            f"manifest {entry.digest} is {media_type}, its index says {entry.media_type}"
        )
