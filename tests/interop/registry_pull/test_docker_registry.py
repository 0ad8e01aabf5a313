"""Pulls from Debian's docker-registry, filled by skopeo from OCI layouts made here.

The expected content is what skopeo copies and GNU tar unpacks from the same registry.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from kedge.archive.compression import decompress
from kedge.content.store import ContentStore
from kedge.distribution.credentials import ANONYMOUS, Credentials
from kedge.distribution.pull import Puller, PullResult
from kedge.errdefs import NotFoundError, UnauthorizedError
from kedge.images.store import ImageStore
from kedge.lib.database import Database
from kedge.oci import media_types
from kedge.oci.platforms import Platform
from kedge.oci.references import parse_reference
from kedge.snapshots.overlay import OverlaySnapshotter
from tests.registry import Registry

pytestmark = [pytest.mark.interop, pytest.mark.integration]

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")
# htpasswd -Bbn ann s3cret
HTPASSWD = "ann:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"


class Facts(NamedTuple):
    """What two unpackers must agree on."""

    mode: str
    uid: int
    gid: int
    mtime: int
    content: str


class Layout:
    """An OCI layout on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs/sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.entries: list[dict[str, object]] = []

    def put(self, media_type: str, data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (self.root / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def image(self, platform: Platform, *layers: bytes) -> dict[str, object]:
        diff_ids = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in layers]
        config: dict[str, object] = {
            "architecture": platform.architecture,
            "os": platform.os,
            "config": {"Env": ["A=b"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": self.put(media_types.OCI_CONFIG, json.dumps(config).encode()),
            "layers": [self.put(media_types.OCI_LAYER, tar) for tar in layers],
        }
        return self.put(media_types.OCI_MANIFEST, json.dumps(manifest).encode())

    def index(self, images: Mapping[Platform, dict[str, object]]) -> dict[str, object]:
        entries = [
            {**entry, "platform": {"os": p.os, "architecture": p.architecture}}
            for p, entry in images.items()
        ]
        document = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": entries,
        }
        return self.put(media_types.OCI_INDEX, json.dumps(document).encode())

    def name(self, entry: dict[str, object], name: str) -> str:
        """Give an entry a name; return how skopeo calls it."""
        annotations = {"org.opencontainers.image.ref.name": name}
        self.entries.append({**entry, "annotations": annotations})
        index = {"schemaVersion": 2, "manifests": self.entries}
        (self.root / "index.json").write_text(json.dumps(index))
        return f"oci:{self.root}:{name}"


def skopeo_copy(source: str, target: str, *options: str) -> None:
    command = ["skopeo", "copy", "-q", "--dest-tls-verify=false", "--src-tls-verify=false"]
    subprocess.run([*command, *options, source, target], check=True)


def make_layer(seed: int) -> bytes:
    """Return a layer with the kinds of entries that images have."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(
            name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object
        ) -> None:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o640
            info.mtime = 1_700_000_000 + seed
            info.size = len(data)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(data))

        add("usr", tarfile.DIRTYPE)
        add(f"usr/layer{seed}", tarfile.DIRTYPE, mode=0o1777)
        for number in range(50):
            add(f"usr/layer{seed}/file{number}", data=hashlib.shake_128(b"%d" % number).digest(900))
        add("usr/changed", data=b"by layer %d" % seed, uid=seed, gid=1000)
        add("usr/link", tarfile.SYMTYPE, linkname=f"layer{seed}/file1")
        add(f"usr/hard{seed}", tarfile.LNKTYPE, linkname="usr/changed")
        if seed > 1:
            add("usr/layer1/.wh.file7")
    return buffer.getvalue()


class World:
    """A store to pull into."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.database = Database(str(root / "metadata.db"))
        self.content = ContentStore(str(root / "content"))
        self.snapshots = OverlaySnapshotter(str(root / "snapshots"), self.database)
        self.images = ImageStore(self.database, self.content, self.snapshots)
        self.puller = Puller(self.images)

    def pull(
        self, name: str, *, platform: Platform | None = None, credentials: Credentials = ANONYMOUS
    ) -> PullResult:
        return self.puller.pull(parse_reference(name), platform=platform, credentials=credentials)

    def files(self, result: PullResult) -> dict[str, Facts]:
        """Return everything in the image's file system, whiteouts applied."""
        found: dict[str, Facts] = {}
        for layer in result.image.layers:
            root = Path(self.snapshots.diff_path(layer.chain_id))
            for path in sorted(root.rglob("*")):
                name = str(path.relative_to(root))
                if path.is_char_device():
                    found.pop(name, None)
                else:
                    found[name] = facts(path)
        return found

    def close(self) -> None:
        self.puller.close()
        self.database.close()


def facts(path: Path) -> Facts:
    status = path.lstat()
    if path.is_symlink():
        content = str(path.readlink())
    else:
        content = "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    mtime = 0 if path.is_dir() else int(status.st_mtime)
    return Facts(oct(status.st_mode), status.st_uid, status.st_gid, mtime, content)


def unpack_with_gnu_tar(layout: Path, target: Path) -> dict[str, Facts]:
    """Unpack what skopeo copied, and apply its one kind of whiteout."""
    index = json.loads((layout / "index.json").read_text())

    def blob(descriptor: dict[str, str]) -> Path:
        return layout / "blobs" / descriptor["digest"].replace(":", "/")

    manifest = json.loads(blob(index["manifests"][0]).read_text())
    target.mkdir()
    for layer in manifest["layers"]:
        with blob(layer).open("rb") as stored, decompress(stored) as plain:
            command = ["tar", "--numeric-owner", "-C", str(target), "-xpf", "-"]
            subprocess.run(command, input=plain.read(), check=True)
        for mark in list(target.rglob(".wh.*")):
            (mark.parent / mark.name.removeprefix(".wh.")).unlink(missing_ok=True)
            mark.unlink()
    return {str(p.relative_to(target)): facts(p) for p in sorted(target.rglob("*"))}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    require_tools()
    server = Registry(tmp_path / "registry")
    yield server
    server.close()


@pytest.fixture
def private_registry(tmp_path: Path) -> Iterator[Registry]:
    require_tools()
    server = Registry(tmp_path / "private", htpasswd=HTPASSWD)
    yield server
    server.close()


def require_tools() -> None:
    for tool in ("docker-registry", "skopeo"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt install docker-registry skopeo)")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path / "engine")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("form", "compression"), [("oci", "gzip"), ("v2s2", "gzip"), ("oci", "zstd")]
)
def test_the_same_files_as_skopeo_and_tar(
    registry: Registry, layout: Layout, world: World, tmp_path: Path, form: str, compression: str
) -> None:
    source = layout.name(layout.image(AMD, *(make_layer(n) for n in (1, 2, 3))), "image")
    target = f"docker://{registry.host}/team/image:1"
    skopeo_copy(source, target, "--format", form, "--dest-compress-format", compression)
    result = world.pull(f"{registry.host}/team/image:1")
    skopeo_copy(target, f"oci:{tmp_path}/copy:x")
    assert world.files(result) == unpack_with_gnu_tar(tmp_path / "copy", tmp_path / "unpacked")
    again = world.pull(f"{registry.host}/team/image:1")
    assert not again.was_new


def test_the_digest_is_the_one_the_registry_knows(
    registry: Registry, layout: Layout, world: World, tmp_path: Path
) -> None:
    source = layout.name(layout.image(AMD, make_layer(1)), "image")
    digest_file = tmp_path / "digest"
    target = f"docker://{registry.host}/image:1"
    skopeo_copy(source, target, "--digestfile", str(digest_file))
    result = world.pull(f"{registry.host}/image:1")
    assert result.digest == digest_file.read_text()
    by_digest = world.pull(f"{registry.host}/image@{result.digest}")
    assert by_digest.image.id == result.image.id
    assert by_digest.image.repo_digests == [f"{registry.host}/image@{result.digest}"]


def test_each_platform_of_an_index(registry: Registry, layout: Layout, world: World) -> None:
    images = {AMD: layout.image(AMD, make_layer(1)), ARM: layout.image(ARM, make_layer(2))}
    source = layout.name(layout.index(images), "index")
    skopeo_copy(source, f"docker://{registry.host}/multi:1", "--all")
    for platform, marker in ((AMD, "usr/layer1"), (ARM, "usr/layer2")):
        result = world.pull(f"{registry.host}/multi:1", platform=platform)
        assert result.image.config.image_platform() == platform
        assert marker in world.files(result)
    with pytest.raises(NotFoundError) as caught:
        world.pull(f"{registry.host}/multi:1", platform=Platform("linux", "s390x"))
    assert str(caught.value) == (
        "no matching manifest for linux/s390x in the manifest list entries:"
        " linux/amd64, linux/arm64"
    )


def test_names_that_are_not_there(registry: Registry, layout: Layout, world: World) -> None:
    skopeo_copy(
        layout.name(layout.image(AMD, make_layer(1)), "image"), f"docker://{registry.host}/image:1"
    )
    for name in ("image:2", "nothing:1"):
        with pytest.raises(NotFoundError) as caught:
            world.pull(f"{registry.host}/{name}")
        assert str(caught.value) == (
            f"manifest for {registry.host}/{name} not found: manifest unknown: manifest unknown"
        )


def test_a_private_registry(private_registry: Registry, layout: Layout, world: World) -> None:
    host = private_registry.host
    source = layout.name(layout.image(AMD, make_layer(1)), "image")
    skopeo_copy(source, f"docker://{host}/image:1", "--dest-creds", "ann:s3cret")
    with pytest.raises(UnauthorizedError, match="no basic auth credentials"):
        world.pull(f"{host}/image:1")
    wrong = Credentials(username="ann", password="wrong")
    with pytest.raises(UnauthorizedError, match="unauthorized: authentication required"):
        world.pull(f"{host}/image:1", credentials=wrong)
    right = Credentials(username="ann", password="s3cret")
    assert world.pull(f"{host}/image:1", credentials=right).was_new
