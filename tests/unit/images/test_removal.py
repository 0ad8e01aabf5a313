from collections.abc import Sequence
from dataclasses import replace

import pytest

from kedge.errdefs import ConflictError
from kedge.images.image import Image, ImageUser, Layer, Removed
from kedge.images.removal import ImageRemoval, RemovalSteps
from kedge.oci.image_spec import ImageConfig, RootFS
from kedge.oci.references import Reference, parse_reference

DIGEST = "sha256:" + "ab" * 32
WEB = "sha256:" + "1" * 64
PARENT = "sha256:" + "2" * 64
CONTAINER = "c0ffee" * 10


class World:
    """Images and containers; the rules decide what happens to them."""

    def __init__(self) -> None:
        self.images: dict[str, Image] = {}
        self.containers: dict[str, list[ImageUser]] = {}

    def add(self, image_id: str, *names: str, parent: str = "") -> None:
        references = [parse_reference(name) for name in names]
        self.images[image_id] = Image(
            id=image_id,
            config=ImageConfig(rootfs=RootFS()),
            layers=(Layer(diff_id="d", chain_id=f"layer of {image_id[7:8]}", size_bytes=5),),
            parent=parent,
            tags=tuple(r for r in references if not r.digest),
            digests=tuple(r for r in references if r.digest),
        )

    def use(self, image_id: str, *, running: bool) -> None:
        self.containers.setdefault(image_id, []).append(ImageUser(CONTAINER, running))

    def unname(self, name: Reference) -> None:
        for image in list(self.images.values()):
            self.images[image.id] = replace(
                image,
                tags=tuple(tag for tag in image.tags if tag != name),
                digests=tuple(digest for digest in image.digests if digest != name),
            )

    def delete(self, image: Image) -> tuple[list[str], int]:
        del self.images[image.id]
        return [layer.chain_id for layer in image.layers], image.size_bytes

    def children(self, image_id: str) -> list[str]:
        return [image.id for image in self.images.values() if image.parent == image_id]

    def users(self, image_id: str) -> Sequence[ImageUser]:
        return self.containers.get(image_id, [])

    def remove(
        self, asked: str, image_id: str = WEB, *, force: bool = False, prune: bool = True
    ) -> Removed:
        steps = RemovalSteps(self.images.get, self.children, self.unname, self.delete)
        removal = ImageRemoval(steps, self.users)
        return removal.run(asked, self.images[image_id], force=force, prune=prune)


def lines(removed: Removed) -> list[str]:
    return [f"Untagged: {u}" if u else f"Deleted: {d}" for u, d in removed.lines]


@pytest.fixture
def world() -> World:
    return World()


def test_the_last_name_takes_the_image_along(world: World) -> None:
    world.add(WEB, "web:1", f"web@{DIGEST}")
    removed = world.remove("web:1")
    assert lines(removed) == [
        "Untagged: web:1",
        f"Untagged: web@{DIGEST}",
        f"Deleted: {WEB}",
        "Deleted: layer of 1",
    ]
    assert removed.untagged_ids == [(WEB, "web:1"), (WEB, f"web@{DIGEST}")]
    assert removed.deleted_ids == [WEB]
    assert removed.freed_bytes == 5
    assert world.images == {}


def test_one_of_several_names_only_goes_itself(world: World) -> None:
    world.add(WEB, "web:1", "web:latest", f"web@{DIGEST}")
    assert lines(world.remove("web")) == ["Untagged: web:latest"]
    assert world.images[WEB].repo_tags == ["web:1"]
    assert world.images[WEB].repo_digests == [f"web@{DIGEST}"]


def test_a_name_in_another_repository_keeps_the_image(world: World) -> None:
    world.add(WEB, "web:1", "other:1", f"web@{DIGEST}")
    assert lines(world.remove("web:1")) == ["Untagged: web:1", f"Untagged: web@{DIGEST}"]
    assert world.images[WEB].repo_tags == ["other:1"]


def test_a_digest_name_goes_alone(world: World) -> None:
    world.add(WEB, "web:1", f"web@{DIGEST}")
    assert lines(world.remove(f"web@{DIGEST}")) == [f"Untagged: web@{DIGEST}"]
    assert world.images[WEB].repo_tags == ["web:1"]


def test_an_id_means_the_image_with_all_names_of_one_repository(world: World) -> None:
    world.add(WEB, "web:1", f"web@{DIGEST}")
    assert lines(world.remove("1111"))[-2:] == [f"Deleted: {WEB}", "Deleted: layer of 1"]


def test_an_id_with_several_repositories_must_be_forced(world: World) -> None:
    world.add(WEB, "web:1", "other:1")
    with pytest.raises(ConflictError) as caught:
        world.remove(WEB)
    assert str(caught.value) == (
        "conflict: unable to delete 111111111111 (must be forced) - "
        "image is referenced in multiple repositories"
    )
    assert lines(world.remove(WEB, force=True)) == [
        "Untagged: web:1",
        "Untagged: other:1",
        f"Deleted: {WEB}",
        "Deleted: layer of 1",
    ]


def test_the_only_name_of_a_used_image_stays(world: World) -> None:
    world.add(WEB, "web:1", f"web@{DIGEST}")
    world.use(WEB, running=False)
    with pytest.raises(ConflictError) as caught:
        world.remove("web:1")
    assert str(caught.value) == (
        'conflict: unable to remove repository reference "web:1" (must force) - '
        "container c0ffeec0ffee is using its referenced image 111111111111"
    )


def test_force_unties_the_name_and_removes_what_a_stopped_container_uses(world: World) -> None:
    world.add(WEB, "web:1")
    world.use(WEB, running=False)
    assert lines(world.remove("web:1", force=True))[:2] == ["Untagged: web:1", f"Deleted: {WEB}"]


def test_force_unties_the_name_of_an_image_in_use_and_keeps_the_image(world: World) -> None:
    world.add(WEB, "web:1")
    world.use(WEB, running=True)
    assert lines(world.remove("web:1", force=True)) == ["Untagged: web:1"]
    assert world.images[WEB].tags == ()


def test_ids_in_use(world: World) -> None:
    world.add(WEB)
    world.use(WEB, running=False)
    with pytest.raises(ConflictError) as caught:
        world.remove(WEB)
    assert str(caught.value) == (
        "conflict: unable to delete 111111111111 (must be forced) - "
        "image is being used by stopped container c0ffeec0ffee"
    )
    world.use(WEB, running=True)
    with pytest.raises(ConflictError) as caught:
        world.remove(WEB, force=True)
    assert str(caught.value) == (
        "conflict: unable to delete 111111111111 (cannot be forced) - "
        "image is being used by running container c0ffeec0ffee"
    )


def test_parents_of_others_cannot_go(world: World) -> None:
    world.add(PARENT, "base:1")
    world.add(WEB, "web:1", parent=PARENT)
    with pytest.raises(ConflictError, match=r"cannot be forced.*image has dependent child images"):
        world.remove(PARENT, PARENT, force=True)
    assert lines(world.remove("base:1", PARENT)) == ["Untagged: base:1"]


def test_untagged_parents_go_along(world: World) -> None:
    world.add(PARENT)
    world.add(WEB, "web:1", parent=PARENT)
    assert world.remove("web:1").deleted_ids == [WEB, PARENT]


def test_tagged_parents_and_unpruned_parents_stay(world: World) -> None:
    world.add(PARENT, "base:1")
    world.add(WEB, "web:1", parent=PARENT)
    assert world.remove("web:1").deleted_ids == [WEB]
    world.add(PARENT)
    world.add(WEB, "web:1", parent=PARENT)
    assert world.remove("web:1", prune=False).deleted_ids == [WEB]
    assert PARENT in world.images


def test_a_parent_that_is_gone_does_not_matter(world: World) -> None:
    world.add(WEB, "web:1", parent=PARENT)
    assert world.remove("web:1").deleted_ids == [WEB]
