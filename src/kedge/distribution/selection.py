"""What a push sends: layers, configs and documents of an image, chosen before anything is sent.

An image that came with an index is pushed with it when everything the index names is here;
otherwise its own manifest is pushed, because a registry refuses an index with holes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.images.image import Image
from kedge.images.store import ImageStore
from kedge.oci import media_types
from kedge.oci.image_spec import (
    Descriptor,
    Index,
    Manifest,
    parse_image_config,
    parse_index,
    parse_manifest,
    sniff_media_type,
)
from kedge.oci.platforms import Platform, best_match, compatible_platforms


class Document(NamedTuple):
    """A manifest or index as it will be in the registry."""

    media_type: str
    digest: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPlan:
    """Everything one tag needs."""

    layers: dict[str, Descriptor]
    """Blobs by the digest they are shown as, top layer first."""
    foreign: tuple[str, ...]
    """Layers that stay where their licence left them."""
    configs: tuple[Descriptor, ...]
    documents: tuple[Document, ...]
    """In the order in which they are sent; the tag will name the last."""

    @property
    def digest(self) -> str:
        """What the tag will name."""
        return self.documents[-1].digest


def plan_push(
    images: ImageStore,
    image_id: str,
    platform: Platform | None,
    *,
    protect: Callable[[str], None],
) -> PushPlan:
    """Return what to send for an image.

    Args:
        images: Where it is.
        image_id: The image.
        platform: The one of an index to push; everything where it is None.
        protect: Keeps a digest from garbage collection; called before it is looked for.

    Raises:
        NotFoundError: A layer is only here unpacked, or nothing is for ``platform``.
    """
    image = images.get(image_id)
    manifest = image.manifest
    if manifest is None or not images.content.exists(manifest.digest):
        raise NotFoundError(
            f"image {image.short_id} has no manifest to push: build, load or pull it again"
        )
    return _Planner(images, image, manifest, protect).plan(platform)


class _Planner:
    """Collects what one push needs."""

    def __init__(
        self,
        images: ImageStore,
        image: Image,
        manifest: Descriptor,
        protect: Callable[[str], None],
    ) -> None:
        self._images = images
        self._image = image
        self._manifest = manifest
        self._protect = protect
        self._layers: dict[str, Descriptor] = {}
        self._foreign: list[str] = []
        self._configs: list[Descriptor] = []
        self._documents: list[Document] = []

    def plan(self, platform: Platform | None) -> PushPlan:
        found = self._find_index()
        if platform is not None:
            self._add_manifest(self._choose(found[1] if found else None, platform))
        elif found is not None:
            document, index = found
            for entry in index.manifests:
                self._add_manifest(entry)
            self._documents.append(document)
        else:
            self._add_manifest(self._manifest)
        return PushPlan(
            layers=self._layers,
            foreign=tuple(self._foreign),
            configs=tuple(self._configs),
            documents=tuple(self._documents),
        )

    def _choose(self, index: Index | None, platform: Platform) -> Descriptor:
        """Return the manifest for a platform the user insists on."""
        if index is not None:
            entries = index.manifests
            position = best_match(platform, [entry.image_platform() for entry in entries])
            if position is not None:
                return entries[position]
        actual = self._image.config.image_platform().normalized()
        fitting = {wanted[:3] for wanted in compatible_platforms(platform)}
        if actual[:3] not in fitting and (*actual[:2], "") not in fitting:
            raise NotFoundError(
                f"image {self._image.short_id} was found but its platform ({actual}) does not"
                f" match the specified platform ({platform})"
            )
        return self._manifest

    def _find_index(self) -> tuple[Document, Index] | None:
        """Return the largest index of this image whose whole content is here."""
        best: tuple[Document, Index] | None = None
        for digest in self._images.kept_blobs(self._image.id):
            document = self._load(digest)
            if document is None or document.media_type not in media_types.INDEXES:
                continue
            try:
                index = parse_index(document.data)
            except InvalidParameterError:
                continue
            if not self._is_whole(index):
                continue
            if best is None or len(index.manifests) > len(best[1].manifests):
                best = (document, index)
        return best

    def _is_whole(self, index: Index) -> bool:
        if all(entry.digest != self._manifest.digest for entry in index.manifests):
            return False
        for entry in index.manifests:
            document = self._load(entry.digest)
            if document is None or document.media_type not in media_types.MANIFESTS:
                return False
            manifest = parse_manifest(document.data)
            if not all(map(self._has, (manifest.config, *manifest.layers))):
                return False
        return True

    def _has(self, blob: Descriptor) -> bool:
        self._protect(blob.digest)
        return blob.is_foreign or self._images.content.exists(blob.digest)

    def _load(self, digest: str) -> Document | None:
        """Return a small JSON document of the store; None for what is none."""
        content = self._images.content
        self._protect(digest)
        try:
            if content.info(digest).size_bytes > media_types.MANIFEST_MAX_BYTES:
                return None
            with content.open(digest) as stream:
                if not stream.read(1).startswith(b"{"):
                    return None
            data = content.read(digest)
            return Document(sniff_media_type(data), digest, data)
        except (NotFoundError, InvalidParameterError):
            return None

    def _add_manifest(self, descriptor: Descriptor) -> None:
        document = self._load(descriptor.digest)
        if document is None:
            raise NotFoundError(f"manifest {descriptor.digest} is gone: get its image again")
        manifest = parse_manifest(document.data)
        self._documents.append(Document(descriptor.media_type, document.digest, document.data))
        self._configs.append(manifest.config)
        shown = self._shown(manifest)
        for blob in reversed(manifest.layers):
            if blob.is_foreign:
                self._foreign.append(shown[blob.digest])
                continue
            if not self._has(blob):
                raise NotFoundError(
                    f"layer {blob.digest} of image {self._image.short_id} is only here unpacked:"
                    " build or pull the image again"
                )
            self._layers.setdefault(shown[blob.digest], blob)

    def _shown(self, manifest: Manifest) -> dict[str, str]:
        """Return the diff_id of each layer, which Docker shows; attestations have none."""
        digests = [layer.digest for layer in manifest.layers]
        if manifest.config.media_type in media_types.CONFIGS:
            config = parse_image_config(self._images.content.read(manifest.config.digest))
            if len(config.rootfs.diff_ids) == len(digests):
                return dict(zip(digests, config.rootfs.diff_ids, strict=True))
        return {digest: digest for digest in digests}
