"""`MountPlan`: one mount of a container as it was decided at create, kept in its record.

`MountPoint` is what the API shows of it.
"""

from typing import Literal

import msgspec
from msgspec import field

from kedge.api.types.container import MountPoint


class MountPlan(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A bind mount, a volume, a tmpfs or an image at a place in the container."""

    kind: Literal["bind", "volume", "tmpfs", "image"]
    destination: str
    source: str = ""
    """Path on the host, or reference of the image."""
    name: str = ""
    """Of the volume; empty until an anonymous one has been made."""
    driver: str = ""
    is_anonymous: bool = False
    is_writable: bool = True
    mode: str = ""
    propagation: str = ""
    creates_source: bool = False
    """A missing folder on the host is made, as ``-v`` does."""
    copies_image: bool = False
    """An empty volume takes the image's content."""
    is_recursive: bool = True
    """Mounts below the source come along."""
    readonly_below: Literal["try", "must", "never"] = "try"
    """Whether read-only goes for the mounts below the source, too."""
    subpath: str = ""
    id_map: str = ""
    options: list[str] = field(default_factory=list[str])
    """Of a tmpfs."""
    volume_options: dict[str, str] = field(default_factory=dict[str, str])
    volume_labels: dict[str, str] = field(default_factory=dict[str, str])
    image_id: str = ""

    def shown(self, source: str = "") -> MountPoint:
        """Return it as list and inspect show it; ``source`` is where a volume's content is."""
        return MountPoint(
            type=self.kind,
            name=self.name,
            source=source or self.source,
            destination=self.destination,
            driver=self.driver,
            mode=self.mode,
            rw=self.is_writable,
            propagation=self.propagation,
        )

    def inherited(self, *, is_writable: bool) -> "MountPlan":
        """Return the same mount for another container, which does not fill it."""
        return msgspec.structs.replace(
            self, is_writable=self.is_writable and is_writable, copies_image=False
        )
