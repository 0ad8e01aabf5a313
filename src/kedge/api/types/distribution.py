"""What a registry has under a name, without pulling it."""

import msgspec
from msgspec import field

from kedge.api.types.wire import Wire


class OciPlatform(msgspec.Struct, omit_defaults=True):
    """A platform in image-spec's own spelling."""

    architecture: str
    os: str
    os_version: str = field(name="os.version", default="")
    variant: str = ""


class OciDescriptor(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Type, digest and size of a manifest, in image-spec's own spelling."""

    media_type: str
    digest: str
    size: int


class DistributionInspect(Wire):
    """The answer of ``GET /distribution/{name}/json``."""

    descriptor: OciDescriptor
    platforms: list[OciPlatform]


class SearchItem(msgspec.Struct):
    """One line of ``GET /images/search``, in the index's own spelling."""

    star_count: int
    is_official: bool
    name: str
    description: str
    is_automated: bool = False
