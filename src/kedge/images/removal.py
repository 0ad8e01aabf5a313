"""Docker's rules for removing images: when a name goes, when the image goes, who objects.

Follows moby `daemon/images/image_delete.go`, texts included, because clients match on them.
Conflicts are hard (children, running containers: force does not help) or soft.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kedge.errdefs import ConflictError
from kedge.images.image import Image, Removal, Removed, Users
from kedge.lib.ids import short_id
from kedge.oci.references import Reference, parse_reference


class RemovalSteps(NamedTuple):
    """What the rules need from the store."""

    get: Callable[[str], Image | None]
    children: Callable[[str], Sequence[str]]
    unname: Callable[[Reference], None]
    delete: Callable[[Image], tuple[list[str], int]]
    """Forget the image and free what only it used: chain ids of the layers, and bytes."""


class ImageRemoval:
    """One removal, from the name the user gave to everything that goes with it."""

    def __init__(self, steps: RemovalSteps, users: Users) -> None:
        self._steps = steps
        self._users = users
        self._lines: list[Removal] = []
        self._untagged: list[tuple[str, str]] = []
        self._deleted: list[str] = []
        self._freed = 0

    def run(self, asked: str, image: Image, *, force: bool, prune: bool) -> Removed:
        """Remove what ``asked``, which resolved to ``image``, means.

        Args:
            asked: The user's words: a name unties that name, an id means the image.
            image: What they resolved to.
            force: Override soft conflicts.
            prune: Also remove parents that nothing needs any more.

        Raises:
            ConflictError: With Docker's text.
        """
        by_name = not _is_id_prefix(image.id, asked)
        if by_name:
            self._remove_name(asked, image, force=force)
            image = self._steps.get(image.id) or image
            if _names(image):
                return self._result()
        elif _is_single(_names(image)):
            self._check(image, force=force, references=False)
            for name in _names(image):
                self._untag(image, name)
            image = self._steps.get(image.id) or image
        self._remove_image(image, force=force, prune=prune, quiet=by_name)
        return self._result()

    def _result(self) -> Removed:
        return Removed(
            lines=self._lines,
            untagged_ids=self._untagged,
            deleted_ids=self._deleted,
            freed_bytes=self._freed,
        )

    def _remove_name(self, asked: str, image: Image, *, force: bool) -> None:
        names = _names(image)
        users = self._users(image.id)
        if users and not force and _is_single(names):
            raise ConflictError(
                f'conflict: unable to remove repository reference "{asked}" (must force) -'
                f" container {short_id(users[0].container_id)} is using its referenced image"
                f" {image.short_id}"
            )
        name = parse_reference(asked).with_default_tag()
        if name.digest:
            name = name._replace(tag="")
        self._untag(image, name)
        rest = [other for other in names if other != name and other.name == name.name]
        # The last tag of a repository takes the repository's digest names along.
        if not name.digest and all(other.digest for other in rest):
            for other in rest:
                self._untag(image, other)

    def _remove_image(self, image: Image, *, force: bool, prune: bool, quiet: bool) -> None:
        conflict = self._conflict(image, force=force, references=True)
        if conflict:
            needed = bool(_names(image)) or bool(self._steps.children(image.id))
            if quiet and (conflict.used or needed):
                return
            raise ConflictError(conflict.text)
        for name in _names(image):
            self._untag(image, name)
        layers, freed = self._steps.delete(image)
        self._freed += freed
        self._deleted.append(image.id)
        self._lines.append(Removal(deleted=image.id))
        self._lines.extend(Removal(deleted=chain_id) for chain_id in layers)
        parent = self._steps.get(image.parent) if prune and image.parent else None
        if parent:
            self._remove_image(parent, force=False, prune=True, quiet=True)

    def _check(self, image: Image, *, force: bool, references: bool) -> None:
        conflict = self._conflict(image, force=force, references=references)
        if conflict:
            raise ConflictError(conflict.text)

    def _conflict(self, image: Image, *, force: bool, references: bool) -> "_Conflict | None":
        """Return the first objection, in moby's order; ``force`` leaves the hard ones."""
        if self._steps.children(image.id):
            return _Conflict.hard(image, "image has dependent child images", used=False)
        users = self._users(image.id)
        running = next((u for u in users if u.running), None)
        if running:
            who = short_id(running.container_id)
            return _Conflict.hard(
                image, f"image is being used by running container {who}", used=True
            )
        if force:
            return None
        if references and _names(image):
            return _Conflict.soft(image, "image is referenced in multiple repositories", used=False)
        if users:
            who = short_id(users[0].container_id)
            return _Conflict.soft(
                image, f"image is being used by stopped container {who}", used=True
            )
        return None

    def _untag(self, image: Image, name: Reference) -> None:
        self._steps.unname(name)
        self._untagged.append((image.id, name.familiar()))
        self._lines.append(Removal(untagged=name.familiar()))


class _Conflict(NamedTuple):
    text: str
    used: bool

    @staticmethod
    def hard(image: Image, why: str, *, used: bool) -> "_Conflict":
        return _Conflict(
            f"conflict: unable to delete {image.short_id} (cannot be forced) - {why}", used
        )

    @staticmethod
    def soft(image: Image, why: str, *, used: bool) -> "_Conflict":
        return _Conflict(
            f"conflict: unable to delete {image.short_id} (must be forced) - {why}", used
        )


def _names(image: Image) -> list[Reference]:
    return [*image.tags, *image.digests]


def _is_id_prefix(image_id: str, asked: str) -> bool:
    return image_id.startswith(asked) or image_id.partition(":")[2].startswith(asked)


def _is_single(names: Sequence[Reference]) -> bool:
    """Tell whether the names are at most one tag, and digests of the same repository only."""
    if len(names) <= 1:
        return True
    tags = [name for name in names if not name.digest]
    if len(tags) > 1:
        return False
    repositories = {name.name for name in names if name.digest}
    return repositories == {(tags or names)[0].name}
