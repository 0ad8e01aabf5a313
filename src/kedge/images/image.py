"""What an image is, as plain data: record, layers, history and removals.

Vocabulary follows the Engine API and the image-spec. An image's id is the digest of its config.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from kedge.lib.ids import short_id
from kedge.oci.image_spec import Descriptor, ImageConfig
from kedge.oci.references import Reference

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MISSING: Final = "<missing>"
"""Docker's word for the id of a history entry that is no image here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of an image in the store."""

    diff_id: str
    """Digest of the uncompressed tar."""
    chain_id: str
    """Names the snapshot: this layer on those below it."""
    size_bytes: int = 0
    """Bytes of the files it adds."""
    blob: Descriptor | None = None
    """The layer as a registry has it; None for a layer that only exists unpacked."""


class NewLayer(NamedTuple):
    """A layer that is about to become part of an image."""

    diff_id: str
    blob: Descriptor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as it was when it was looked up."""

    id: str
    config: ImageConfig
    layers: tuple[Layer, ...]
    parent: str = ""
    """Image the build step started from; empty for what was pulled."""
    manifest: Descriptor | None = None
    tags: tuple[Reference, ...] = ()
    digests: tuple[Reference, ...] = ()
    """Names by digest, as a registry knows the image."""
    created_ns: int = 0
    last_tagged_ns: int = 0

    @property
    def short_id(self) -> str:
        """The twelve digits people see."""
        return short_id(self.id)

    @property
    def chain_id(self) -> str:
        """The snapshot a container's file system starts from; empty for an image of no layers."""
        return self.layers[-1].chain_id if self.layers else ""

    @property
    def size_bytes(self) -> int:
        """Bytes of the files of all layers."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def repo_tags(self) -> list[str]:
        """Tags as ``docker images`` shows them."""
        return [tag.familiar() for tag in self.tags]

    @property
    def repo_digests(self) -> list[str]:
        """Names by digest as ``docker images --digests`` shows them."""
        return [digest.familiar() for digest in self.digests]

    @property
    def is_dangling(self) -> bool:
        """Whether no tag names it."""
        return not self.tags


class HistoryItem(NamedTuple):
    """One line of ``docker history``, newest first."""

    id: str
    created_ns: int
    created_by: str
    tags: tuple[str, ...]
    size_bytes: int
    comment: str


class ImageUser(NamedTuple):
    """A container that was made from an image, or has one mounted."""

    container_id: str
    running: bool


Users: TypeAlias = Callable[[str], Sequence[ImageUser]]
"""Who uses an image id; the engine knows, the store asks before it removes."""


class Removal(NamedTuple):
    """One line of what a removal did; one of the two is empty."""

    untagged: str = ""
    deleted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What a removal did."""

    lines: list[Removal] = field(default_factory=list)
    untagged_ids: list[tuple[str, str]] = field(default_factory=list)
    """Image id and name for each ``untag`` event."""
    deleted_ids: list[str] = field(default_factory=list)
    """Image id for each ``delete`` event."""
    freed_bytes: int = 0


def parse_created(text: str) -> int:
    """Return nanoseconds since the epoch of an RFC 3339 time, or 0 where it is none.

    A strange time in somebody's image must not make the image unusable.
    """
    from_calendar, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] if rest else ""
    try:
        moment = datetime.fromisoformat(from_calendar + zone)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    nanos = int(digits[:9].ljust(9, "0")) if digits else 0
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    # Go's zero time, which some builders write, is centuries before the epoch.
    return max(seconds * 1_000_000_000 + nanos, 0)
