"""What a build came to, for one platform, before anybody said where it goes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kedge.errdefs import NotFoundError
from kedge.images.layering import LayerRecord
from kedge.oci.hashing import sha256_digest
from kedge.oci.image_spec import Descriptor, ImageConfig, PlatformFields
from kedge.oci.platforms import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """An in-toto predicate about an image."""

    predicate_type: str
    predicate: bytes
    """JSON of the predicate alone; the statement around it names the image."""
    file_name: str
    """What ``local`` and ``tar`` outputs call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """The image of one platform; its layers are snapshots and blobs that the build leases."""

    platform: Platform
    config: ImageConfig
    data: bytes
    """The configuration as it is stored; its digest is the image's id."""
    layers: Sequence[LayerRecord]
    unchanged_id: str = ""
    """The image of the store this still is, when the build changed nothing."""
    attestations: Sequence[Attestation] = field(default_factory=tuple[Attestation, ...])

    @property
    def chain_id(self) -> str:
        """The snapshot of its file system; empty for one without layers."""
        return self.layers[-1].chain_id if self.layers else ""

    @property
    def image_id(self) -> str:
        """The digest of its configuration."""
        return self.unchanged_id or sha256_digest(self.data)

    def platform_fields(self) -> PlatformFields:
        """Return the platform as an index names it."""
        return PlatformFields(
            architecture=self.platform.architecture,
            os=self.platform.os,
            variant=self.platform.variant,
            os_version=self.platform.os_version,
        )

    def blobs(self) -> list[Descriptor]:
        """Return the stored layers, base first.

        Raises:
            NotFoundError: A base layer is only unpacked here.
        """
        found = [layer.blob for layer in self.layers]
        whole = [blob for blob in found if blob is not None]
        if len(whole) != len(found):
            raise NotFoundError(
                "a layer of the base image is not stored as a blob: pull or build it again"
            )
        return whole
