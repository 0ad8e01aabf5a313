"""Pulls that succeed, of every kind of image, and what they leave in the store."""

import gzip
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from kedge.distribution.credentials import Credentials
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.progress import PullEvent
from kedge.errdefs import DataLossError, NotFoundError, NotSupportedError
from kedge.oci import media_types
from kedge.oci.platforms import Platform
from kedge.oci.references import parse_reference
from tests.integration.pull_faults.conftest import (
    FakeRegistry,
    Received,
    Reply,
    World,
    error,
    noise,
)

pytestmark = pytest.mark.integration

ARM = Platform("linux", "arm64")
S390 = Platform("linux", "s390x")
AMD = Platform("linux", "amd64")


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_an_image_arrives(registry: FakeRegistry, world: World, *, docker: bool) -> None:
    pushed = registry.push(
        "team/app", "1", {"a": b"lower", "b": b"kept"}, {"a": b"upper"}, docker=docker
    )
    name = f"{registry.host}/team/app:1"
    result = world.pull(name)
    assert result.was_new
    assert result.digest == pushed.manifest
    assert result.image.id == pushed.config
    assert world.images.resolve(name) == result.image
    assert result.image.repo_tags == [name]
    assert result.image.repo_digests == [f"{registry.host}/team/app@{pushed.manifest}"]
    assert world.file(result, "a") == b"upper"
    assert world.file(result, "b") == b"kept"
    assert result.image.size_bytes == len(b"lowerkeptupper")
    assert {blob.digest for blob in world.content.walk()} == {
        pushed.manifest,
        pushed.config,
        *pushed.layers,
    }
    assert world.partial_files() == []


def test_progress_is_told_in_dockers_words(registry: FakeRegistry, world: World) -> None:
    pushed = registry.push("app", "1", *({"f": noise(5000, n)} for n in range(4)))
    world.pull(f"{registry.host}/app:1")
    assert world.events[0] == PullEvent("Pulling from app", "1")
    assert world.events[-2:] == [
        PullEvent(f"Digest: {pushed.manifest}"),
        PullEvent(f"Status: Downloaded newer image for {registry.host}/app:1"),
    ]
    said = world.statuses(pushed.layers[0])
    assert said[:2] == ["Pulling fs layer", "Downloading"]
    assert said[-1] == "Pull complete"
    assert [s for s in said if s in ("Verifying Checksum", "Download complete")] == [
        "Verifying Checksum",
        "Download complete",
    ]
    assert "Waiting" in world.statuses(pushed.layers[3])
    size = len(registry.blobs[pushed.layers[0]])
    counts = [e for e in world.events if e.status == "Downloading" and e.total == size]
    assert counts[-1].current == size


def test_the_second_pull_asks_for_the_manifest_only(registry: FakeRegistry, world: World) -> None:
    registry.push("app", "1", {"a": b"a"})
    name = f"{registry.host}/app:1"
    first = world.pull(name)
    registry.received.clear()
    world.events.clear()
    again = world.pull(name)
    assert registry.paths() == ["/v2/app/manifests/1"]
    assert not again.was_new
    assert again.image.id == first.image.id
    assert [e.status.partition(":")[0] for e in world.events] == [
        "Pulling from app",
        "Digest",
        "Status",
    ]
    assert world.events[-1].status == f"Status: Image is up to date for {name}"


def test_a_moved_tag_leaves_the_old_image_untagged(registry: FakeRegistry, world: World) -> None:
    registry.push("app", "1", {"a": b"old"})
    name = f"{registry.host}/app:1"
    old = world.pull(name)
    registry.push("app", "1", {"a": b"new"})
    new = world.pull(name)
    assert new.was_new
    assert world.images.resolve(name).id == new.image.id
    left = world.images.get(old.image.id)
    assert left.tags == ()
    assert left.repo_digests == [f"{registry.host}/app@{old.digest}"]


def test_shared_layers_are_fetched_once(registry: FakeRegistry, world: World) -> None:
    base = {"base": noise(3000)}
    registry.push("one", "1", base, {"one": b"1"})
    second = registry.push("two", "1", base, {"two": b"2"})
    world.pull(f"{registry.host}/one:1")
    registry.received.clear()
    world.events.clear()
    world.pull(f"{registry.host}/two:1")
    assert registry.paths("/blobs/") == [
        f"/v2/two/blobs/{second.config}",
        f"/v2/two/blobs/{second.layers[1]}",
    ]
    assert world.statuses(second.layers[0]) == ["Already exists"]


def test_an_image_with_the_same_layer_twice(registry: FakeRegistry, world: World) -> None:
    pushed = registry.push("app", "1", {"a": b"a"}, {"b": b"b"}, {"a": b"a"})
    result = world.pull(f"{registry.host}/app:1")
    assert pushed.layers[0] == pushed.layers[2]
    assert len(registry.paths(pushed.layers[0])) == 1
    assert len(result.image.layers) == 3


def test_an_image_without_layers(registry: FakeRegistry, world: World) -> None:
    registry.push("empty", "1")
    assert world.pull(f"{registry.host}/empty:1").image.layers == ()


def test_by_digest(registry: FakeRegistry, world: World) -> None:
    pushed = registry.push("app", "1", {"a": b"a"})
    name = f"{registry.host}/app@{pushed.manifest}"
    result = world.pull(f"{registry.host}/app:ignored@{pushed.manifest}")
    assert result.image.repo_digests == [name]
    assert result.image.tags == ()
    assert world.events[0].id == name
    assert world.images.resolve(name).id == result.image.id


@pytest.mark.parametrize("kind", ["zstd", "plain", "gzip members"])
def test_compressions(registry: FakeRegistry, world: World, kind: str) -> None:
    def members(data: bytes) -> bytes:
        return gzip.compress(data[:700]) + gzip.compress(data[700:])

    compressors = dict[str, Callable[[bytes], bytes]](
        {"zstd": zstandard.compress, "plain": bytes, "gzip members": members}
    )
    compress = compressors[kind]
    layer_type = {
        "zstd": media_types.OCI_LAYER_ZSTD,
        "plain": media_types.OCI_LAYER,
        "gzip members": media_types.OCI_LAYER_GZIP,
    }[kind]
    registry.push("app", "1", {"a": noise(9000)}, compress=compress, layer_type=layer_type)
    assert world.file(world.pull(f"{registry.host}/app:1"), "a") == noise(9000)


def test_bodies_of_unknown_length(registry: FakeRegistry, world: World) -> None:
    pushed = registry.push("app", "1", {"a": noise(3000)})

    def chunked(request: object) -> Reply | None:
        path = getattr(request, "path", "")
        return (
            Reply(body=registry.blobs[pushed.layers[0]], chunked=True)
            if pushed.layers[0] in path
            else None
        )

    registry.rules.append(chunked)
    assert world.file(world.pull(f"{registry.host}/app:1"), "a") == noise(3000)


def index_of_three(registry: FakeRegistry) -> dict[Platform, str]:
    digests = {
        platform: registry.push(
            "multi", platform.architecture, {"arch": str(platform).encode()}, platform=platform
        ).manifest
        for platform in (AMD, ARM, S390)
    }
    attestation = registry.push(
        "multi", "att", {"x": b"x"}, platform=Platform("unknown", "unknown")
    )
    entries = [(digest, platform) for platform, digest in digests.items()]
    entries.insert(0, (attestation.manifest, Platform("unknown", "unknown")))
    registry.push_index("multi", "1", entries)
    return digests


@pytest.mark.parametrize("platform", [AMD, ARM, S390])
def test_a_platform_of_an_index(registry: FakeRegistry, world: World, platform: Platform) -> None:
    digests = index_of_three(registry)
    result = world.pull(f"{registry.host}/multi:1", platform=platform)
    assert world.file(result, "arch") == str(platform).encode()
    assert result.image.manifest is not None
    assert result.image.manifest.digest == digests[platform]
    assert result.digest not in digests.values()
    assert result.image.repo_digests == [f"{registry.host}/multi@{result.digest}"]
    assert world.content.exists(result.digest)


def test_a_platform_that_is_not_there(registry: FakeRegistry, world: World) -> None:
    index_of_three(registry)
    with pytest.raises(NotFoundError) as caught:
        world.pull(f"{registry.host}/multi:1", platform=Platform("linux", "riscv64"))
    assert str(caught.value) == (
        "no matching manifest for linux/riscv64 in the manifest list entries:"
        " linux/amd64, linux/arm64, linux/s390x"
    )
    world.assert_nothing_recorded()


def test_a_single_image_of_another_platform(registry: FakeRegistry, world: World) -> None:
    registry.push("app", "1", {"a": b"a"}, platform=S390)
    name = f"{registry.host}/app:1"
    with pytest.raises(NotFoundError, match=r"its platform \(linux/s390x\) does not match"):
        world.pull(name, platform=ARM)
    assert world.pull(name).image.config.architecture == "s390x"


def test_schema_1_is_refused(registry: FakeRegistry, world: World) -> None:
    registry.put_manifest("old", "1", media_types.DOCKER_SCHEMA1_SIGNED, b'{"schemaVersion":1}')
    with pytest.raises(NotSupportedError, match=r"old:1 is an image of manifest schema 1"):
        world.pull(f"{registry.host}/old:1")


def test_an_artifact_is_no_image(registry: FakeRegistry, world: World) -> None:
    config = registry.put_blob(b"{}")
    registry.put_manifest(
        "chart",
        "1",
        media_types.OCI_MANIFEST,
        b'{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json",'
        b'"digest":"%s","size":2},"layers":[]}' % config.encode(),
    )
    with pytest.raises(NotSupportedError, match=r"is an artifact of type .*helm"):
        world.pull(f"{registry.host}/chart:1")


def test_layers_that_cannot_be_unpacked_are_refused(registry: FakeRegistry, world: World) -> None:
    registry.push("wasm", "1", {"a": b"a"}, layer_type="application/wasm")
    with pytest.raises(NotSupportedError, match="has a layer of type application/wasm"):
        world.pull(f"{registry.host}/wasm:1")


def test_header_and_document_must_agree(registry: FakeRegistry, world: World) -> None:
    pushed = registry.push("app", "1", {"a": b"a"})
    data = registry.manifests[f"app/{pushed.manifest}"][1]
    registry.put_manifest("app", "1", media_types.OCI_INDEX, data)
    with pytest.raises(DataLossError, match="but the registry says"):
        world.pull(f"{registry.host}/app:1")


def test_concurrent_pulls_share_a_download(registry: FakeRegistry, world: World) -> None:
    pushed = registry.push("app", "1", {"a": noise(200_000)})
    registry.push("app", "2", {"a": noise(200_000)}, config_changes={"author": "another"})
    stall = threading.Event()
    both = threading.Barrier(3)
    layer = pushed.layers[0]

    def slow(request: Received) -> Reply | None:
        wanted = layer in request.path
        return Reply(body=registry.blobs[layer], stall=stall) if wanted else None

    registry.rules.append(slow)
    found: list[bytes] = []

    def pull(tag: str) -> None:
        both.wait()
        found.append(world.file(world.pull(f"{registry.host}/app:{tag}"), "a"))

    threads = [threading.Thread(target=pull, args=(tag,)) for tag in ("1", "2")]
    for thread in threads:
        thread.start()
    both.wait()
    while sum(e.status == "Pulling fs layer" for e in world.events) < 2:
        stall.wait(0.01)
    stall.set()
    for thread in threads:
        thread.join()
    assert found == [noise(200_000)] * 2
    assert len(registry.paths(layer)) == 1
    assert len(world.images.list_images()) == 2


def test_mirrors_serve_docker_hub(registry: FakeRegistry, world: World) -> None:
    registry.push("library/app", "latest", {"a": b"a"})
    world.open(RegistrySettings(mirrors=("http://127.0.0.1:1", registry.url)))
    result = world.pull("app")
    assert result.image.repo_tags == ["app:latest"]
    assert world.events[0] == PullEvent("Pulling from library/app", "latest")


def test_a_mirror_of_any_registry_under_another_name(
    registry: FakeRegistry, world: World, tmp_path: Path
) -> None:
    registry.push("proxy/app", "1", {"a": b"from the mirror"})
    (tmp_path / "quay.io").mkdir()
    (tmp_path / "quay.io/hosts.toml").write_text(
        f"""
        [host."{registry.url}".header]
          X-Team = "blue"
        [host."{registry.url}".rewrite]
          "^team/(.*)" = "proxy/$1"
        """
    )
    world.open(RegistrySettings(certs_directories=(str(tmp_path),)))
    user = Credentials(username="ann", password="s3cret")
    result = world.pull("quay.io/team/app:1", credentials=user)
    assert world.file(result, "a") == b"from the mirror"
    assert result.image.repo_tags == ["quay.io/team/app:1"]
    asked = [request for request in registry.received if "/proxy/app/" in request.path]
    assert all("ns=quay.io" in request.path for request in asked)
    assert {request.headers["x-team"] for request in asked} == {"blue"}
    # Whoever mirrors a registry is not the registry.
    assert {request.authorization for request in registry.received} == {""}


def test_a_layer_that_holds_nothing(registry: FakeRegistry, world: World) -> None:
    registry.push("app", "1", {})
    result = world.pull(f"{registry.host}/app:1")
    assert result.image.layers[0].size_bytes == 0


def test_an_image_by_digest_needs_no_registry_once_it_is_here(
    registry: FakeRegistry, world: World
) -> None:
    pushed = registry.push("app", "1", {"a": b"a"})
    name = f"{registry.host}/app@{pushed.manifest}"
    first = world.pull(name)
    registry.received.clear()
    assert world.pull(name).image.id == first.image.id
    assert registry.received == []


def test_tags_come_in_pages(registry: FakeRegistry, world: World) -> None:
    pages = {
        "n=1000": (b'{"tags":["1","2"]}', '</v2/app/tags/list?n=2&last=2>; rel="next"'),
        "n=2&last=2": (b'{"tags":["3"]}', ""),
    }

    def page(request: Received) -> Reply | None:
        body, link = pages[request.path.partition("?")[2]]
        return Reply(body=body, headers={"Link": link} if link else {})

    registry.rules.append(lambda r: page(r) if r.path.startswith("/v2/app/tags/list") else None)
    assert world.puller is not None
    assert world.puller.tags(parse_reference(f"{registry.host}/app")) == ["1", "2", "3"]
    registry.rules[:] = [lambda r: error(404, "NAME_UNKNOWN", "no") if "tags" in r.path else None]
    with pytest.raises(NotFoundError, match="app not found: name unknown: no"):
        world.puller.tags(parse_reference(f"{registry.host}/app"))
    registry.rules[:] = [lambda r: Reply(body=b'{"tags":null}') if "tags" in r.path else None]
    assert world.puller.tags(parse_reference(f"{registry.host}/app")) == []
