"""`VolumeDriver`: what a kind of volume can say about itself.

A driver decides which options a volume may have and where its content is; it mounts nothing.
`Location` is its answer: a folder of the host, or a file system that somebody has to mount.
"""

from typing import NamedTuple, Protocol

from kedge.volumes.model import Volume


class Location(NamedTuple):
    """Where the content of a volume is."""

    path: str = ""
    """A folder on the host; empty when a file system has to be mounted."""
    fstype: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    """For a path, options of the bind mount; otherwise of the file system."""
    is_own: bool = False
    """The folder belongs to the volume alone: it is made, measured and removed with it."""


class VolumeDriver(Protocol):
    """One kind of volumes; pure, callable from any thread."""

    @property
    def name(self) -> str:
        """What ``--driver`` calls it."""
        ...

    def check_options(self, volume: Volume) -> None:
        """Raise InvalidParameterError unless a volume can have these options."""
        ...

    def locate(self, volume: Volume, folder: str) -> Location:
        """Return where the content is, given the folder the store keeps for it."""
        ...
