"""Copies between registries and layouts, and manifest lists, through a registry that misbehaves."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.distribution.access import RegistryAccess
from kedge.distribution.copying import CopyOptions, ImageCopy
from kedge.distribution.credentials import ANONYMOUS
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.manifestlists import (
    ManifestLists,
    Platformed,
    annotate,
    create_list,
    push_list,
)
from kedge.distribution.places import LayoutPlace, RegistryPlace
from kedge.errdefs import (
    ConflictError,
    DataLossError,
    InvalidParameterError,
    KedgeError,
    NotFoundError,
)
from kedge.oci import media_types
from kedge.oci.platforms import Platform
from kedge.oci.references import Reference, parse_reference
from tests.integration.pull_faults.conftest import (
    FakeRegistry,
    Received,
    Reply,
    digest_of,
    noise,
)
from tests.integration.push_faults.conftest import WritableRegistry

pytestmark = pytest.mark.integration

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")
EVERYTHING = CopyOptions()


@pytest.fixture
def access() -> Iterator[RegistryAccess]:
    opened = RegistryAccess(RegistrySettings(max_attempts=3), lambda _domain: ANONYMOUS)
    yield opened
    opened.close()


@pytest.fixture
def index(source: FakeRegistry) -> str:
    amd = source.push("app", "amd", {"a": noise(3 << 20)}, platform=AMD)
    arm = source.push("app", "arm", {"b": b"b"}, platform=ARM)
    return source.push_index("app", "1", [(amd.manifest, AMD), (arm.manifest, ARM)])


def place(access: RegistryAccess, host: str, name: str, *, push: bool = False) -> RegistryPlace:
    reference = parse_reference(f"{host}/{name}")
    return RegistryPlace(access.client(reference, push=push), reference.digest or reference.tag)


def test_there_and_back_again(
    source: FakeRegistry,
    target: WritableRegistry,
    access: RegistryAccess,
    index: str,
    tmp_path: Path,
) -> None:
    layout = LayoutPlace(str(tmp_path / "layout"), "one")
    first = ImageCopy(place(access, source.host, "app:1"), layout, EVERYTHING).run()
    assert first == (index, 4, 3)
    second = ImageCopy(layout, place(access, target.host, "back:2", push=True), EVERYTHING).run()
    assert second.digest == index
    assert target.manifests["back/2"] == source.manifests["app/1"]
    assert target.blobs == source.blobs
    again = ImageCopy(place(access, source.host, "app:1"), layout, EVERYTHING).run()
    assert again.blobs == 0
    entries = json.loads((tmp_path / "layout/index.json").read_bytes())["manifests"]
    assert [entry["digest"] for entry in entries] == [index]


@pytest.mark.usefixtures("index")
def test_one_platform(source: FakeRegistry, access: RegistryAccess, tmp_path: Path) -> None:
    layout = LayoutPlace(str(tmp_path / "layout"), "")
    origin = place(access, source.host, "app:1")
    done = ImageCopy(origin, layout, CopyOptions(platform=ARM)).run()
    assert done.documents == 1
    assert layout.document("").digest == done.digest
    with pytest.raises(NotFoundError, match=r"linux/amd64, linux/arm64"):
        ImageCopy(origin, layout, CopyOptions(platform=Platform("linux", "s390x"))).run()


@pytest.mark.usefixtures("index")
def test_a_broken_download_goes_on(
    source: FakeRegistry, target: WritableRegistry, access: RegistryAccess
) -> None:
    cut: list[str] = []

    def break_off(request: Received) -> Reply | None:
        digest = request.path.rpartition("/")[2]
        if "/blobs/" not in request.path or cut or len(source.blobs[digest]) < 1 << 20:
            return None
        cut.append(digest)
        data = source.blobs[digest]
        return Reply(body=data[: 1 << 20], content_length=len(data))

    source.rules.append(break_off)
    target.cuts = [1 << 20]
    goal = place(access, target.host, "app:1", push=True)
    ImageCopy(place(access, source.host, "app:1"), goal, EVERYTHING).run()
    assert target.blobs == source.blobs
    assert any(r.headers.get("range") == f"bytes={1 << 20}-" for r in source.received)


@pytest.mark.usefixtures("index")
def test_wrong_bytes_are_not_passed_on(
    source: FakeRegistry, access: RegistryAccess, tmp_path: Path
) -> None:
    for digest, data in source.blobs.items():
        if len(data) > 1 << 20:
            source.blobs[digest] = data[:-1] + b"x"
    layout = LayoutPlace(str(tmp_path / "layout"), "one")
    with pytest.raises(DataLossError, match="do not match its digest"):
        ImageCopy(place(access, source.host, "app:1"), layout, EVERYTHING).run()
    assert not (tmp_path / "layout/index.json").exists()


def test_a_type_that_contradicts_the_bytes(
    source: FakeRegistry, access: RegistryAccess, tmp_path: Path
) -> None:
    pushed = source.push("app", "1", {"a": b"a"})
    source.manifests["app/1"] = (media_types.OCI_INDEX, source.manifests["app/1"][1])
    with pytest.raises(DataLossError, match=f"manifest {pushed.manifest} says it is"):
        ImageCopy(
            place(access, source.host, "app:1"), LayoutPlace(str(tmp_path), "x"), EVERYTHING
        ).run()


def test_a_damaged_layout(
    source: FakeRegistry, target: WritableRegistry, access: RegistryAccess, tmp_path: Path
) -> None:
    pushed = source.push("app", "1", {"a": b"a"})
    layout = LayoutPlace(str(tmp_path), "x")
    ImageCopy(place(access, source.host, "app:1"), layout, EVERYTHING).run()
    (tmp_path / "blobs/sha256" / pushed.layers[0].removeprefix("sha256:")).write_bytes(b"no")
    with pytest.raises(DataLossError, match="is damaged"):
        ImageCopy(layout, place(access, target.host, "app:1", push=True), EVERYTHING).run()
    assert target.manifests == {}
    with pytest.raises(NotFoundError, match="has no image y, only x"):
        LayoutPlace(str(tmp_path), "y").document("")


@pytest.mark.parametrize("api", [True, False], ids=["referrers-api", "tag"])
def test_referrers(
    source: FakeRegistry,
    access: RegistryAccess,
    tmp_path: Path,
    *,
    api: bool,
) -> None:
    pushed = source.push("app", "1", {"a": b"a"})
    signature, empty = source.put_blob(b"signature"), source.put_blob(b"{}")
    about = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "artifactType": "application/signature",
            "config": {"mediaType": media_types.OCI_EMPTY, "digest": empty, "size": 2},
            "layers": [{"mediaType": "text/plain", "digest": signature, "size": 9}],
            "subject": {
                "mediaType": media_types.OCI_MANIFEST, "digest": pushed.manifest, "size": 1
            },
        }
    ).encode()  # fmt: skip
    digest = source.put_manifest("app", "sig", media_types.OCI_MANIFEST, about)
    listing = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [
                {"mediaType": media_types.OCI_MANIFEST, "digest": digest, "size": len(about)}
            ],
        }
    ).encode()
    if api:
        source.rules.append(
            lambda r: (
                Reply(body=listing) if r.path.endswith(f"/referrers/{pushed.manifest}") else None
            )
        )
    else:
        source.put_manifest(
            "app", pushed.manifest.replace(":", "-"), media_types.OCI_INDEX, listing
        )
    layout = LayoutPlace(str(tmp_path), "x")
    options = CopyOptions(referrers=True)
    done = ImageCopy(place(access, source.host, "app:1"), layout, options).run()
    assert done.documents == 2
    assert layout.has_blob(signature)
    assert layout.document(digest).data == about


def test_manifest_lists(
    source: FakeRegistry,
    target: WritableRegistry,
    access: RegistryAccess,
    tmp_path: Path,
) -> None:
    amd = source.push("app", "amd", {"a": b"a"}, platform=AMD, docker=True)
    arm = source.push("app", "arm", {"b": b"b"}, platform=ARM, docker=True)
    lists = ManifestLists(str(tmp_path / "lists"))
    name = parse_reference(f"{target.host}/multi:1")
    refs = [parse_reference(f"{source.host}/app:{tag}") for tag in ("amd", "arm")]
    create_list(lists, name, refs[:1], access, amend=False)
    with pytest.raises(ConflictError, match="no --amend flag"):
        create_list(lists, name, refs, access, amend=False)
    create_list(lists, name, refs, access, amend=True)
    annotate(
        lists, name, Reference(source.host, "app", digest=arm.manifest), Platformed(variant="v8")
    )
    with pytest.raises(InvalidParameterError, match="name one by its digest"):
        annotate(lists, name, Reference(source.host, "app", "arm"), Platformed(variant="v8"))
    digest = push_list(lists, name, access)
    media_type, data = target.manifests["multi/1"]
    assert media_type == media_types.DOCKER_INDEX
    assert digest_of(data) == digest
    entries = json.loads(data)["manifests"]
    assert [entry["digest"] for entry in entries] == [amd.manifest, arm.manifest]
    assert entries[1]["platform"] == {"os": "linux", "architecture": "arm64", "variant": "v8"}
    assert target.blobs == source.blobs
    lists.remove(name)
    with pytest.raises(NotFoundError, match="No such manifest"):
        lists.remove(name)


def test_a_list_of_what_is_not_there(
    source: FakeRegistry, access: RegistryAccess, tmp_path: Path, index: str
) -> None:
    lists = ManifestLists(str(tmp_path / "lists"))
    name = parse_reference("r.example/multi:1")
    with pytest.raises(KedgeError, match="manifest unknown"):
        create_list(lists, name, [parse_reference(f"{source.host}/app:9")], access, amend=False)
    with pytest.raises(InvalidParameterError, match="is a manifest list"):
        create_list(lists, name, [parse_reference(f"{source.host}/app:1")], access, amend=False)
    assert lists.load(name) is None
    assert index
