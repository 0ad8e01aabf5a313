import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from kedge.archive.apply import Applied
from kedge.content.store import ContentStore
from kedge.errdefs import (
    ConflictError,
    DataLossError,
    InvalidParameterError,
    NotFoundError,
)
from kedge.images.image import Image, ImageUser, NewLayer
from kedge.images.store import ImageStore
from kedge.images.unpack import PlannedLayer
from kedge.lib.database import Database
from kedge.lib.filters import Filters
from kedge.oci import media_types
from kedge.oci.hashing import chain_ids, sha256_digest
from kedge.oci.image_spec import (
    ContainerConfig,
    Descriptor,
    ImageConfig,
    RootFS,
    parse_manifest,
)
from kedge.oci.mounts import Mount
from kedge.oci.references import parse_reference
from kedge.snapshots.snapshotter import SnapshotInfo, SnapshotKind, Usage


class FakeSnapshots:
    """A snapshotter that keeps only names, and takes the bytes of a layer for its files."""

    def __init__(self) -> None:
        self.facts: dict[str, SnapshotInfo] = {}
        self.purged = 0

    def prepare(self, key: str, parent: str | None = None) -> tuple[Mount, ...]:
        if parent is not None:
            assert self.facts[parent].kind is SnapshotKind.COMMITTED
        self.facts[key] = SnapshotInfo(key, SnapshotKind.ACTIVE, parent, 0, None)
        return ()

    def apply(self, key: str, stream: BinaryIO, *, name: str = "layer") -> Applied:
        assert self.stat(key).kind is SnapshotKind.ACTIVE
        data = stream.read()
        if data.startswith(b"damaged"):
            raise InvalidParameterError(f"{name}: it is no archive")
        return Applied(sha256_digest(data), len(data), 1, len(data), ())

    def commit(self, name: str, key: str, *, usage: Usage | None = None) -> None:
        if name in self.facts:
            raise ConflictError(f"snapshot {name} exists already")
        info = self.facts.pop(key)
        size = usage.size_bytes if usage else 77
        self.facts[name] = info._replace(name=name, kind=SnapshotKind.COMMITTED, size_bytes=size)

    def sync(self) -> None:
        """Nothing is kept."""

    def remove(self, key: str) -> None:
        self.stat(key)
        if any(facts.parent == key for facts in self.facts.values()):
            raise ConflictError(f"snapshot {key} has children")
        del self.facts[key]

    def purge(self) -> int:
        self.purged += 1
        return 0

    def stat(self, key: str) -> SnapshotInfo:
        if key not in self.facts:
            raise NotFoundError(f"no such snapshot: {key}")
        return self.facts[key]

    def diff_path(self, key: str) -> str:
        return f"/nonexistent/{self.stat(key).name}"

    def walk(self) -> list[SnapshotInfo]:
        return list(self.facts.values())


class World:
    def __init__(self, root: Path) -> None:
        self.snapshots = FakeSnapshots()
        self.database = Database(str(root / "metadata.db"))
        self.content = ContentStore(str(root / "content"))
        self.images = ImageStore(self.database, self.content, self.snapshots)
        self.users: list[ImageUser] = []

    def layer(self, data: bytes) -> NewLayer:
        return NewLayer(
            sha256_digest(data),
            Descriptor(media_types.OCI_LAYER, self.content.put(data), len(data)),
        )

    def image(
        self, *layers: bytes, names: Sequence[str] = (), parent: str = "", cmd: str = "sh"
    ) -> Image:
        made = [self.layer(data) for data in layers]
        config = ImageConfig(
            architecture="amd64",
            os="linux",
            created=f"2024-01-01T00:00:0{len(layers)}Z",
            config=ContainerConfig(cmd=[cmd]),
            rootfs=RootFS(diff_ids=[layer.diff_id for layer in made]),
        )
        return self.images.create_image(
            config, made, names=[parse_reference(name) for name in names], parent=parent
        )

    def remove(self, text: str, *, force: bool = False) -> list[str]:
        removed = self.images.remove(text, users=lambda _: self.users, force=force)
        return [line.untagged or line.deleted for line in removed.lines]

    def blobs(self) -> set[str]:
        return {blob.digest for blob in self.content.walk()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.database.close()


def test_an_image_is_found_by_everything_that_names_it(world: World) -> None:
    made = world.image(b"a", names=["web:1", "example.com/web:2"])
    digits = made.id.removeprefix("sha256:")
    for text in (
        "web:1",
        "docker.io/library/web:1",
        "example.com/web:2",
        made.id,
        digits,
        digits[:4],
    ):
        assert world.images.resolve(text).id == made.id
    assert world.images.resolve(made.id[:15]).id == made.id
    assert made.repo_tags == ["web:1", "example.com/web:2"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web", "web:latest"),
        ("web:2", "web:2"),
        ("docker.io/library/web", "web:latest"),
        ("deadbeef", "deadbeef:latest"),
        ("sha256:" + "d" * 64, "sha256:" + "d" * 64),
        ("d" * 64, "sha256:" + "d" * 64),
        ("web@sha256:" + "d" * 64, "web@sha256:" + "d" * 64),
    ],
)
def test_what_is_not_there_is_named_in_dockers_words(world: World, text: str, shown: str) -> None:
    world.image(b"a", names=["web:1"])
    with pytest.raises(NotFoundError) as caught:
        world.images.resolve(text)
    assert str(caught.value) == f"No such image: {shown}"


def test_the_beginning_of_two_ids_is_ambiguous(world: World) -> None:
    seen: dict[str, str] = {}
    for number in range(40):
        made = world.image(b"a", cmd=str(number))
        prefix = made.id.removeprefix("sha256:")[0]
        if prefix in seen:
            break
        seen[prefix] = made.id
    else:
        pytest.fail("forty ids and no two with the same first digit")
    with pytest.raises(InvalidParameterError, match=f'ambiguous reference: "{prefix}"'):
        world.images.resolve(prefix)


def test_no_name_at_all_is_refused(world: World) -> None:
    with pytest.raises(InvalidParameterError, match="must be lowercase"):
        world.images.resolve("Web")


def test_a_made_image_has_a_manifest_of_its_layers(world: World) -> None:
    made = world.image(b"a", b"b")
    assert made.manifest is not None
    manifest = parse_manifest(world.content.read(made.manifest.digest))
    assert manifest.config.digest == made.id
    assert [layer.digest for layer in manifest.layers] == [
        layer.blob.digest for layer in made.layers if layer.blob
    ]
    assert manifest.config.size == len(world.images.config_bytes(made.id))


def test_the_same_image_again_is_the_same_image(world: World) -> None:
    first = world.image(b"a", names=["web:1"])
    again = world.image(b"a", names=["web:2"])
    assert again.id == first.id
    assert again.repo_tags == ["web:1", "web:2"]
    assert len(world.images.list_images()) == 1


def test_a_config_that_lists_other_layers_is_refused(world: World) -> None:
    config = ImageConfig(rootfs=RootFS(diff_ids=[sha256_digest(b"other")]))
    with pytest.raises(InvalidParameterError, match="not the 1 layers given"):
        world.images.create_image(config, [world.layer(b"a")])


def test_a_tag_moves(world: World) -> None:
    old = world.image(b"a", names=["web"])
    new = world.image(b"b", names=["web"])
    assert world.images.resolve("web").id == new.id
    assert world.images.get(old.id).is_dangling
    world.images.tag(old.id, parse_reference("web"))
    assert world.images.resolve("web:latest").id == old.id
    assert world.images.get(old.id).last_tagged_ns > 0


def test_names_that_cannot_be_tags(world: World) -> None:
    made = world.image(b"a")
    with pytest.raises(InvalidParameterError, match="digest reference"):
        world.images.tag(made.id, parse_reference("web@sha256:" + "a" * 64))
    with pytest.raises(InvalidParameterError, match="ambiguous tag"):
        world.images.tag(made.id, parse_reference("sha256:1234"))
    with pytest.raises(NotFoundError):
        world.images.tag("sha256:" + "0" * 64, parse_reference("web"))


def test_list_is_newest_first_and_filtered(world: World) -> None:
    base = world.image(b"a", names=["base"])
    top = world.image(b"a", b"b", names=["top"], parent=base.id)
    assert [image.id for image in world.images.list_images()] == [top.id, base.id]
    assert world.images.children(base.id) == [top.id]
    found = world.images.list_images(Filters({"before": ("top",)}))
    assert [image.id for image in found] == [base.id]


def test_unpacking_makes_each_layer_once(world: World) -> None:
    first = world.image(b"a", b"bb", names=["first"])
    second = world.image(b"a", b"ccc", names=["second"])
    assert world.images.unpack(first) == first.chain_id
    assert world.images.unpack(second) == second.chain_id
    assert world.images.unpack(second) == second.chain_id
    assert len(world.snapshots.facts) == 3
    assert world.snapshots.facts[first.chain_id].parent == first.layers[0].chain_id
    assert world.images.get(first.id).size_bytes == 3
    assert world.images.shared_bytes()[first.id] == 1
    assert world.images.total_layer_bytes() == 6


def test_a_layer_that_is_not_its_diff_id_is_refused(world: World) -> None:
    blob = Descriptor(media_types.OCI_LAYER, world.content.put(b"evil"), 4)
    diff_id = sha256_digest(b"good")
    made = world.images.create_image(
        ImageConfig(rootfs=RootFS(diff_ids=[diff_id])), [NewLayer(diff_id, blob)]
    )
    with pytest.raises(DataLossError, match=f"layer {diff_id} does not match its diff_id"):
        world.images.unpack(made)
    assert world.snapshots.facts == {}


def test_a_failing_blob_publishes_nothing(world: World) -> None:
    layer = world.layer(b"a")

    def verify() -> None:
        raise DataLossError("the blob is not what its digest says")

    planned = PlannedLayer(layer.diff_id, layer.diff_id, "")
    with pytest.raises(DataLossError, match="not what its digest says"):
        world.images.unpacker.unpack(
            planned, lambda: world.content.open(layer.diff_id), verify=verify
        )
    assert world.snapshots.facts == {}


def test_damage_names_the_layer(world: World) -> None:
    made = world.image(b"damaged")
    with pytest.raises(DataLossError) as caught:
        world.images.unpack(made)
    name = made.layers[0].diff_id.removeprefix("sha256:")[:12]
    assert str(caught.value) == f"failed to register layer {name}: it is no archive"
    assert world.snapshots.facts == {}
    assert world.snapshots.purged == 1


def test_a_layer_that_a_build_made_meanwhile(world: World) -> None:
    layer = world.layer(b"a")

    def build_it() -> None:
        world.snapshots.prepare("build")
        world.snapshots.commit(layer.diff_id, "build")

    planned = PlannedLayer(layer.diff_id, layer.diff_id, "")
    world.images.unpacker.unpack(
        planned, lambda: world.content.open(layer.diff_id), verify=build_it
    )
    assert list(world.snapshots.facts) == [layer.diff_id]


def test_many_threads_extract_a_layer_once(world: World) -> None:
    layer = world.layer(b"a")
    planned = PlannedLayer(layer.diff_id, layer.diff_id, "")
    opened: list[str] = []
    barrier = threading.Barrier(8)

    def open_blob() -> BinaryIO:
        opened.append("once")
        return world.content.open(layer.diff_id)

    def unpack() -> None:
        barrier.wait()
        world.images.unpacker.unpack(planned, open_blob)

    threads = [threading.Thread(target=unpack) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == ["once"]


def test_removal_frees_only_what_no_other_image_needs(world: World) -> None:
    first = world.image(b"a", b"b", names=["first"])
    second = world.image(b"a", b"c", names=["second"])
    world.images.unpack(first)
    world.images.unpack(second)
    shared, own = first.layers
    assert world.remove("first") == ["first:latest", first.id, own.chain_id]
    assert shared.diff_id in world.blobs()
    assert own.diff_id not in world.blobs()
    assert set(world.snapshots.facts) == {shared.chain_id, second.chain_id}
    assert world.images.unpack(world.images.get(second.id)) == second.chain_id
    world.remove("second")
    assert world.blobs() == set()
    assert world.snapshots.facts == {}


def test_a_forced_removal_leaves_the_layers_of_a_container(world: World) -> None:
    made = world.image(b"a", names=["web"])
    world.images.unpack(made)
    world.snapshots.prepare("container", made.chain_id)
    world.users = [ImageUser("c" * 64, running=False)]
    assert world.remove("web", force=True) == ["web:latest", made.id]
    world.snapshots.remove("container")
    world.images.collect_garbage()
    assert world.snapshots.facts == {}


def test_leases_protect_from_removal(world: World) -> None:
    made = world.image(b"a", names=["web"])
    world.images.unpack(made)
    with world.images.lease() as lease:
        lease.add(made.chain_id, made.layers[0].diff_id)
        world.remove("web")
        assert made.chain_id in world.snapshots.facts
        assert made.layers[0].diff_id in world.blobs()
    world.images.collect_garbage()
    assert world.blobs() == set()
    assert world.snapshots.facts == {}


def test_garbage_of_a_crash_is_collected(world: World) -> None:
    kept = world.image(b"a", b"b", names=["web"])
    world.images.unpack(kept)
    world.content.put(b"nobody's")
    world.snapshots.prepare("extract-1234", kept.chain_id)
    orphans = chain_ids([sha256_digest(b"x"), sha256_digest(b"y")])
    for parent, name in ((None, orphans[0]), (orphans[0], orphans[1])):
        world.snapshots.prepare("key", parent)
        world.snapshots.commit(name, "key")
    world.snapshots.prepare("container-1", kept.chain_id)
    before = world.blobs()
    collected = world.images.collect_garbage()
    assert collected.digests == (sha256_digest(b"nobody's"),)
    assert before - world.blobs() == {sha256_digest(b"nobody's")}
    assert set(world.snapshots.facts) == {
        *(layer.chain_id for layer in kept.layers),
        "container-1",
    }


def test_everything_is_there_after_a_restart(world: World, tmp_path: Path) -> None:
    made = world.image(b"a", names=["web"])
    world.images.unpack(made)
    made = world.images.get(made.id)
    world.database.close()
    reopened = ImageStore(
        Database(str(tmp_path / "metadata.db")),
        ContentStore(str(tmp_path / "content")),
        world.snapshots,
    )
    assert reopened.resolve("web") == made
    assert reopened.unpacker.has(made.chain_id)


def test_a_damaged_image_can_be_listed_and_removed(world: World) -> None:
    made = world.image(b"a", names=["web"])
    world.content.remove(made.id)
    reopened = ImageStore(world.database, world.content, world.snapshots)
    with pytest.raises(DataLossError, match="is missing: remove the image and get it again"):
        reopened.resolve("web")
    assert [image.id for image in reopened.list_images()] == [made.id]
    removed = reopened.remove("web", users=lambda _: [])
    assert removed.deleted_ids == [made.id]
    assert world.blobs() == set()


def test_an_image_without_layers(world: World) -> None:
    made = world.image(names=["scratch-like"])
    assert world.images.unpack(made) == ""
    assert made.chain_id == ""
    assert made.size_bytes == 0


def test_repository_digests(world: World) -> None:
    layer = world.layer(b"a")
    config = ImageConfig(rootfs=RootFS(diff_ids=[layer.diff_id]))
    made = world.images.create_image(config, [layer])
    digest = "sha256:" + hashlib.sha256(b"manifest").hexdigest()
    world.images.add(
        made.id,
        [layer],
        names=[parse_reference("web:1"), parse_reference(f"web@{digest}")],
    )
    found = world.images.resolve(f"web@{digest}")
    assert found.repo_digests == [f"web@{digest}"]
    assert world.images.resolve(f"web:1@{digest}").id == made.id
    assert world.remove("web:1") == ["web:1", f"web@{digest}", made.id, made.chain_id]


def run_concurrently(*calls: Callable[[], None]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_collection_and_creation_do_not_race(world: World) -> None:
    stop = threading.Event()
    made: list[Image] = []

    def create() -> None:
        for number in range(25):
            with world.images.lease() as lease:
                data = b"layer %d" % number
                lease.add(sha256_digest(data))
                made.append(world.image(data, names=[f"image:{number}"]))
        stop.set()

    def collect() -> None:
        while not stop.is_set():
            world.images.collect_garbage()

    run_concurrently(create, collect)
    assert len(made) == 25
    for image in made:
        assert {image.id, image.layers[0].diff_id} <= world.blobs()
