"""Archives of images: what is written is what is read, and what is not one is refused."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
import zstandard

from kedge.errdefs import DataLossError, InvalidParameterError, KedgeError, NotFoundError
from kedge.images.image import Image
from kedge.images.loading import ImageLoader, Loaded
from kedge.images.saving import select_known, select_saved, write_images
from kedge.lib.jsontypes import Json
from kedge.oci import media_types
from kedge.oci.hashing import sha256_digest
from kedge.oci.image_spec import (
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    PlatformFields,
    RootFS,
    encode_document,
)
from kedge.oci.platforms import Platform, parse_platform
from tests.unit.images.test_store import World

ARM = parse_platform("linux/arm64")


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "one").mkdir()
    return World(tmp_path / "one")


@pytest.fixture
def other(tmp_path: Path) -> World:
    (tmp_path / "two").mkdir()
    return World(tmp_path / "two")


def save(world: World, *names: str, since: str = "") -> bytes:
    out = io.BytesIO()
    known = select_known(world.images, [since] if since else [])
    write_images(world.images, select_saved(world.images, names), out, known=known)
    return out.getvalue()


def load(world: World, data: bytes, platform: Platform | None = None) -> list[Loaded]:
    return list(ImageLoader(world.images, platform=platform).load(io.BytesIO(data)))


def names_of(loaded: list[Loaded]) -> list[list[str]]:
    return [[name.familiar() for name in item.names] for item in loaded]


def make_tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, goal in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, goal
            archive.addfile(member)
    return buffer.getvalue()


def docker_tar(layers: dict[str, bytes], *, tags: list[str] | None, **links: str) -> bytes:
    """An archive as Docker wrote it before it knew OCI layouts."""
    diff_ids = [sha256_digest(data) for data in layers.values()]
    config = encode_document(
        ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=diff_ids))
    )
    name = f"{sha256_digest(config)[7:]}.json"
    entry: Json = {"Config": name, "RepoTags": list[Json](tags or []), "Layers": list(layers)}
    kept = {path: data for path, data in layers.items() if path not in links}
    return make_tar({name: config, **kept, "manifest.json": json.dumps([entry]).encode()}, links)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_what_was_saved_is_loaded(world: World, other: World, pack: type[bytes]) -> None:
    first = world.image(b"base", b"top", names=["web:1", "web:2", "registry.example/a/b:3"])
    second = world.image(b"base", names=["base"])
    loaded = load(other, pack(save(world, "web", "base", "registry.example/a/b:3")))
    assert names_of(loaded) == [["web:1", "web:2", "registry.example/a/b:3"], ["base:latest"]]
    assert [item.image.id for item in loaded] == [first.id, second.id]
    again = other.images.get(first.id)
    assert again.manifest == first.manifest
    assert [layer.blob for layer in again.layers] == [layer.blob for layer in first.layers]


def test_an_image_saved_by_id_has_no_name(world: World, other: World) -> None:
    image = world.image(b"base", names=["web"])
    (loaded,) = load(other, save(world, image.short_id))
    assert (loaded.image.id, loaded.names) == (image.id, ())
    assert other.images.get(image.id).is_dangling


def test_one_tag_alone_is_saved_and_each_blob_once(world: World) -> None:
    world.image(b"base", names=["web:1", "web:2"])
    with tarfile.open(fileobj=io.BytesIO(save(world, "web:2", "web:2"))) as tar:
        listed = tar.extractfile("manifest.json")
        assert listed is not None
        assert [entry["RepoTags"] for entry in json.load(listed)] == [["web:2"]]
        names = tar.getnames()
    assert len(names) == len(set(names))


def test_an_archive_since_another_image_has_the_new_layers_alone(
    world: World, other: World
) -> None:
    world.image(b"base", names=["app:1"])
    new = world.image(b"base", b"top", names=["app:2"])
    whole, update = save(world, "app:2"), save(world, "app:2", since="app:1")
    with tarfile.open(fileobj=io.BytesIO(update)) as tar:
        names = tar.getnames()
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        left_out = set(tar.getnames()) - set(names)
    assert left_out == {f"blobs/sha256/{layer.digest[7:]}" for layer in layers_of(new)[:1]}
    with pytest.raises(InvalidParameterError, match="load the image first that it was saved since"):
        load(other, update)
    load(other, save(world, "app:1"))
    (loaded,) = load(other, update)
    assert (loaded.image.id, names_of([loaded])) == (new.id, [["app:2"]])
    # Whole again from there, so nothing of it is only half here.
    assert save(other, "app:2") == whole


def layers_of(image: Image) -> list[Descriptor]:
    return [layer.blob for layer in image.layers if layer.blob is not None]


def test_layouts_of_old_are_read_with_their_links(world: World) -> None:
    data = docker_tar({"a/layer.tar": b"base", "b/layer.tar": b"top"}, tags=["old:1"])
    (loaded,) = load(world, data)
    assert names_of([loaded]) == [["old:1"]]
    assert [layer.diff_id for layer in loaded.image.layers] == [
        sha256_digest(b"base"), sha256_digest(b"top"),
    ]  # fmt: skip
    linked = docker_tar(
        {"a/layer.tar": b"same", "b/layer.tar": b"same"}, tags=None,
        **{"b/layer.tar": "../a/layer.tar"},
    )  # fmt: skip
    assert names_of(load(world, linked)) == [[]]


def layout(files: dict[str, bytes], top: list[Descriptor]) -> bytes:
    index = Index(schema_version=2, media_type=media_types.OCI_INDEX, manifests=top)
    blobs = {f"blobs/{sha256_digest(data).replace(':', '/')}": data for data in files.values()}
    return make_tar({"oci-layout": b"{}", **blobs, "index.json": encode_document(index)})


def platform_image(architecture: str) -> tuple[dict[str, bytes], Descriptor]:
    layer = architecture.encode()
    config = encode_document(
        ImageConfig(
            architecture=architecture, os="linux", rootfs=RootFS(diff_ids=[sha256_digest(layer)])
        )
    )
    manifest = encode_document(
        Manifest(
            schema_version=2,
            media_type=media_types.OCI_MANIFEST,
            config=Descriptor(media_types.OCI_CONFIG, sha256_digest(config), len(config)),
            layers=[Descriptor(media_types.OCI_LAYER, sha256_digest(layer), len(layer))],
        )
    )
    descriptor = Descriptor(
        media_types.OCI_MANIFEST, sha256_digest(manifest), len(manifest),
        platform=PlatformFields(architecture=architecture, os="linux"),
    )  # fmt: skip
    files = {f"{architecture}-{kind}": data for kind, data in
             (("layer", layer), ("config", config), ("manifest", manifest))}  # fmt: skip
    return files, descriptor


def test_the_platform_of_an_index_is_chosen_and_a_missing_one_is_said(world: World) -> None:
    amd_files, amd = platform_image("amd64")
    arm_files, arm = platform_image("arm64")
    nested = encode_document(
        Index(schema_version=2, media_type=media_types.OCI_INDEX, manifests=[amd, arm])
    )
    top = Descriptor(
        media_types.OCI_INDEX, sha256_digest(nested), len(nested),
        annotations={"io.containerd.image.name": "docker.io/library/multi:1"},
    )  # fmt: skip
    data = layout({**amd_files, **arm_files, "nested": nested}, [top])
    (loaded,) = load(world, data, ARM)
    assert loaded.image.config.architecture == "arm64"
    assert names_of([loaded]) == [["multi:1"]]
    with pytest.raises(NotFoundError, match="no image for the platform"):
        load(world, data, parse_platform("linux/s390x"))
    # A layout that leaves out what it lists offers what is there.
    partial = layout({**arm_files, "nested": nested}, [top])
    assert [item.image.config.architecture for item in load(world, partial, ARM)] == ["arm64"]


def test_a_docker_archive_of_another_platform_is_said(world: World) -> None:
    with pytest.raises(NotFoundError, match="does not provide the specified platform"):
        load(world, docker_tar({"l": b"x"}, tags=["a"]), ARM)


@pytest.mark.parametrize(
    ("data", "failure", "message"),
    [
        (b"no tar at all" * 100, KedgeError, "tar"),
        (make_tar({"etc/passwd": b""}), InvalidParameterError, "neither manifest.json nor index"),
        (make_tar({"manifest.json": b"{"}), InvalidParameterError, "manifest.json"),
        (make_tar({"manifest.json": b'[{"Config": "gone.json"}]'}), InvalidParameterError,
         "gone.json is missing"),
        (make_tar({"manifest.json": b"x" * (9 << 20)}), InvalidParameterError, "too large"),
        (make_tar({}, {"manifest.json": "manifest.json"}), InvalidParameterError, "neither"),
        (make_tar({}, {"manifest.json": "../../../../etc/passwd"}), InvalidParameterError,
         "neither"),
        (make_tar({"blobs/sha256/" + "0" * 64: b"x"}), DataLossError, "does not match its digest"),
        (docker_tar({"l": b"damaged"}, tags=None), DataLossError, "no archive"),
        (docker_tar({"l": b"x"}, tags=["A:/b"]), InvalidParameterError, "invalid reference"),
    ],
)  # fmt: skip
def test_bad_archives_are_refused_and_leave_nothing(
    world: World, data: bytes, failure: type[KedgeError], message: str
) -> None:
    with pytest.raises(failure, match=message):
        load(world, data)
    world.images.collect_garbage()
    assert world.images.list_images(all_images=True) == []
    assert list(world.content.walk()) == []
    assert world.snapshots.walk() == []


def test_a_cut_archive_is_told_from_a_whole_one(world: World, other: World) -> None:
    world.image(b"base" * 1000, names=["web"])
    data = save(world, "web")
    with pytest.raises(KedgeError):
        load(other, data[: len(data) // 2])
    assert other.images.list_images(all_images=True) == []


def test_a_layer_that_lies_about_its_content_is_refused(world: World) -> None:
    files, descriptor = platform_image("amd64")
    files["amd64-layer"] = b"something else"
    with pytest.raises(InvalidParameterError, match="is missing"):
        load(world, layout(files, [descriptor]))
