"""A registry that keeps its images in a bucket, behind a real S3 server."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.oci.hashing import sha256_digest
from kedge.registry.failures import DistributionError
from kedge.registry.s3 import S3Objects, S3Settings
from tests.integration.registry_live.test_life import Pusher, check_taken
from tests.integration.registry_live.test_load import MEGABYTE, get, peak_bytes
from tests.kedgeregistry import OCTETS, Client, KedgeRegistry
from tests.s3server import BUCKET, ENVIRON, SECRET, S3Server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    running = S3Server(tmp_path_factory.mktemp("s3"))
    yield running
    running.close()


@pytest.fixture
def objects(
    store: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[S3Objects]:
    """The objects of the registry of this test."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    opened = S3Objects(S3Settings(BUCKET, f"{tmp_path.name}/", store.endpoint))
    yield opened
    opened.close()


@pytest.fixture
def kept(own: KedgeRegistry, store: S3Server, tmp_path: Path) -> KedgeRegistry:
    """A registry over the bucket, not started yet."""
    own.environ = dict(ENVIRON)
    own.flags = ("--s3-bucket", f"{BUCKET}/{tmp_path.name}", "--s3-endpoint", store.endpoint)
    return own


def keys(objects: S3Objects) -> set[str]:
    return {found.key for found in objects.walk("")}


def forget_disk(registry: KedgeRegistry) -> None:
    """Let the registry begin again on a new disk."""
    registry.kill()
    shutil.rmtree(registry.root / "registry")


def test_what_is_pushed_is_in_the_bucket_and_comes_back_on_a_new_disk(
    kept: KedgeRegistry, objects: S3Objects
) -> None:
    kept.start()
    client = Client(kept.host)
    layer = bytes(range(256)) * 100
    image = client.push_image("team/app", "v1", layer)
    client.push_image("team/app", "old", b"another")
    assert client.ask("DELETE", "/v2/team/app/manifests/old").status == 202
    digest = sha256_digest(layer)
    assert {
        f"blobs/{digest.replace(':', '/')}",
        f"repositories/team/app/_manifests/{image.replace(':', '/')}",
        "repositories/team/app/_tags/v1",
    } <= keys(objects)
    assert "repositories/team/app/_tags/old" not in keys(objects)
    client.close()
    forget_disk(kept)
    kept.start("made the catalog from the bucket: 2 manifests, 1 tags, 3 blobs")
    client = Client(kept.host)
    assert client.ask("GET", "/v2/team/app/tags/list").body == b'{"name":"team/app","tags":["v1"]}'
    manifest = client.ask("GET", "/v2/team/app/manifests/v1")
    assert manifest.headers["docker-content-digest"] == image
    place = f"/v2/team/app/blobs/{digest}"
    assert kept.local_blobs() == {}
    whole = client.ask("GET", place)
    assert (whole.status, whole.body) == (200, layer)
    assert client.ask("HEAD", place).headers["content-length"] == str(len(layer))
    part = client.ask("GET", place, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, layer[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(layer)}"
    # Bytes that are in the bucket are enough for a mount and for another image.
    mounted = client.ask("POST", f"/v2/team/two/blobs/uploads/?mount={digest}&from=team/app")
    assert mounted.status == 201
    client.close()


def test_clients_are_sent_to_the_bucket(kept: KedgeRegistry) -> None:
    kept.flags += ("--s3-redirect", "--local-size", "0")
    kept.start()
    client = Client(kept.host)
    digest = client.push_blob("team/app", b"from afar" * 1000)
    assert kept.local_blobs() == {}
    answer = client.ask("GET", f"/v2/team/app/blobs/{digest}")
    assert answer.status == 307
    place = answer.headers["location"]
    assert SECRET not in place
    host, _, path = place.removeprefix("http://").partition("/")
    there = Client(host)
    assert there.ask("GET", f"/{path}").body == b"from afar" * 1000
    there.close()
    client.close()


def test_killed_under_load_it_keeps_what_it_took(kept: KedgeRegistry) -> None:
    kept.flags += ("--local-size", "200kB")
    taken: dict[tuple[str, str], str] = {}
    kept.start()
    for life in range(3):
        pushers = [Pusher(kept.host, f"life{life}/{n}", 10 * life + n) for n in range(2)]
        for pusher in pushers:
            pusher.start()
        while sum(len(pusher.taken) for pusher in pushers) < 3 + life:
            pushers[0].join(0.002)
        kept.kill()
        for pusher in pushers:
            pusher.join()
        if life == 1:
            # The bucket alone must be enough.
            shutil.rmtree(kept.root / "registry")
            kept.start("made the catalog from the bucket")
        else:
            kept.start()
        for number, pusher in enumerate(pushers):
            taken |= {(f"life{life}/{number}", tag): d for tag, d in pusher.taken.items()}
    client = Client(kept.host)
    check_taken(client, taken)
    assert sum(kept.local_blobs().values()) <= 200_000
    client.close()


def test_large_blobs_go_in_parts_and_memory_stays_flat(kept: KedgeRegistry) -> None:
    kept.flags += ("--local-size", "0")
    kept.start()
    client = Client(kept.host)
    peaks: list[int] = []
    for size in (40 * MEGABYTE, 90 * MEGABYTE):
        data = bytes(size)
        digest = sha256_digest(data)
        place = client.ask("POST", "/v2/large/blob/blobs/uploads/").headers["location"]
        assert client.ask("PUT", f"{place}?digest={digest}", data, OCTETS).status == 201
        assert kept.local_blobs() == {}
        assert asyncio.run(get(kept.host, f"/v2/large/blob/blobs/{digest}")) == size
        peaks.append(peak_bytes(kept.pid))
    assert peaks[1] - peaks[0] < 16 * MEGABYTE
    client.close()


def test_garbage_goes_from_the_bucket(kept: KedgeRegistry, objects: S3Objects) -> None:
    kept.flags += ("--keep-unused", "0s", "--keep-untagged", "0s")
    kept.start()
    client = Client(kept.host)
    client.push_image("keep/it", "v1", b"kept")
    client.push_image("keep/it", "v2", b"gone")
    client.push_image("keep/it", "v2", b"kept too")
    client.push_blob("keep/it", b"nobody needs this")
    said = kept.collect()
    assert said.startswith("collected garbage: 1 manifests, 2 blobs ("), said
    wanted = {sha256_digest(data) for data in (b"{}", b"kept", b"kept too")}
    assert {key for key in keys(objects) if key.startswith("blobs/")} == {
        f"blobs/{digest.replace(':', '/')}" for digest in wanted
    }
    assert kept.local_blobs().keys() == wanted
    client.close()


def test_a_bucket_that_is_not_there(kept: KedgeRegistry, store: S3Server) -> None:
    kept.flags = ("--s3-bucket", "nowhere", "--s3-endpoint", store.endpoint)
    said = kept.refuses_to_start()
    expected = f"cannot use bucket nowhere at {store.endpoint}: there is no such bucket"
    assert said == f"kedge registry: {expected}\n"


def test_a_store_that_goes_away_is_a_503_in_one_line(
    own: KedgeRegistry, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    alone = S3Server(tmp_path_factory.mktemp("alone"))
    own.environ = dict(ENVIRON)
    own.flags = ("--s3-bucket", BUCKET, "--s3-endpoint", alone.endpoint)
    try:
        own.start()
    finally:
        alone.close()
    client = Client(own.host)
    answer = client.ask(
        "POST", f"/v2/team/app/blobs/uploads/?digest={sha256_digest(b'data')}", b"data", OCTETS
    )
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    assert f"bucket {BUCKET} at {alone.endpoint}".encode() in answer.body
    assert SECRET.encode() not in answer.body
    client.close()


def test_settings_that_exclude_each_other(own: KedgeRegistry) -> None:
    for flags, reason in (
        (("--local-size", "1GB"), "--local-size would lose images here"),
        (("--s3-endpoint", "http://127.0.0.1:1"), "need --s3-bucket"),
        (("--s3-bucket", "b", "--cache-of", "http://127.0.0.1:1"), "leave --s3-bucket out"),
        (("--s3-bucket", "b", "--s3-endpoint", "http://user:pw@h"), "invalid --s3-endpoint"),
    ):
        own.flags = flags
        said = own.refuses_to_start()
        assert reason in said
        assert "pw" not in said


def test_objects_that_are_not_there(objects: S3Objects, store: S3Server) -> None:
    assert objects.get("none") is None
    assert objects.size_bytes("none") is None
    assert objects.chunks("none", 0, 5) is None
    objects.delete("none")
    assert keys(objects) == set()
    with pytest.raises(DistributionError, match="cannot use bucket none at"):
        S3Objects(S3Settings("none", "", store.endpoint))
