"""From a path below ``/v2/`` to what it means; pure.

Repository names hold slashes and may even hold the words ``blobs`` or ``manifests``, so a path is
read from its end (distribution-spec, "Endpoints").
"""

from enum import Enum, auto
from typing import Final, NamedTuple


class Kind(Enum):
    """What a path is about."""

    VERSION = auto()
    CATALOG = auto()
    TAGS = auto()
    MANIFEST = auto()
    BLOB = auto()
    UPLOADS = auto()
    UPLOAD = auto()
    REFERRERS = auto()


class Target(NamedTuple):
    """A path taken apart.

    Attributes:
        reference: Tag, digest or session, where the kind has one.
    """

    kind: Kind
    repository: str = ""
    reference: str = ""


_WITH_REFERENCE: Final = {
    "manifests": Kind.MANIFEST,
    "blobs": Kind.BLOB,
    "referrers": Kind.REFERRERS,
}


def parse_path(path: str) -> Target | None:
    """Return what ``path`` means, or None when it means nothing."""
    if path in {"/v2", "/v2/"}:
        return Target(Kind.VERSION)
    if not path.startswith("/v2/"):
        return None
    rest = path.removeprefix("/v2/")
    if rest == "_catalog":
        return Target(Kind.CATALOG)
    return _parse_uploads(rest) or _parse_reference(rest)


def _parse_uploads(rest: str) -> Target | None:
    for ending in ("/blobs/uploads/", "/blobs/uploads"):
        if rest.endswith(ending):
            return _in(rest.removesuffix(ending), Kind.UPLOADS)
    name, marker, session = rest.rpartition("/blobs/uploads/")
    if marker and "/" not in session:
        return _in(name, Kind.UPLOAD, session)
    return None


def _parse_reference(rest: str) -> Target | None:
    if rest.endswith("/tags/list"):
        return _in(rest.removesuffix("/tags/list"), Kind.TAGS)
    before, _, reference = rest.rpartition("/")
    name, _, word = before.rpartition("/")
    kind = _WITH_REFERENCE.get(word)
    return _in(name, kind, reference) if kind is not None and reference else None


def _in(repository: str, kind: Kind, reference: str = "") -> Target | None:
    return Target(kind, repository, reference) if repository else None
