"""A pull-through cache: blobs once, tags believed for a while, an origin that is away."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kedgeregistry import Client, KedgeRegistry

pytestmark = pytest.mark.integration

LAYER = bytes(range(256)) * 8192


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[KedgeRegistry]:
    made = KedgeRegistry(tmp_path / "origin", "--metrics", "127.0.0.1:0")
    made.start()
    yield made
    made.close()


def pull(client: Client, repository: str, tag: str) -> tuple[str, bytes]:
    """Return a manifest's digest and its layer."""
    manifest = client.ask("GET", f"/v2/{repository}/manifests/{tag}")
    assert manifest.status == 200, manifest
    layer = json.loads(manifest.body)["layers"][0]["digest"]
    blob = client.ask("GET", f"/v2/{repository}/blobs/{layer}")
    assert blob.headers["content-length"] == str(len(blob.body))
    return manifest.headers["docker-content-digest"], blob.body


def blob_gets(metrics: str) -> int:
    """Return how many bytes the origin has sent."""
    client = Client(metrics)
    text = client.ask("GET", "/metrics").body.decode()
    client.close()
    for line in text.splitlines():
        if line.startswith("kedge_registry_sent_bytes_total "):
            return int(line.rpartition(" ")[2])
    raise AssertionError(text)


def test_a_blob_is_fetched_once_and_kept(own: KedgeRegistry, origin: KedgeRegistry) -> None:
    metrics = origin.next_line().partition("metrics on http://")[2].removesuffix("/metrics\n")
    source = Client(origin.host)
    digest = source.push_image("team/app", "v1", LAYER)
    own.flags = ("--cache-of", f"http://{origin.host}", "--cache-ttl", "1h")
    own.start()
    results: list[tuple[str, bytes]] = []

    def one() -> None:
        client = Client(own.host)
        results.append(pull(client, "team/app", "v1"))
        client.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(digest, LAYER)] * 8
    # The layer went over the wire once, beside manifests of less than a kilobyte.
    assert len(LAYER) <= blob_gets(metrics) < len(LAYER) + 16 * 1024
    source.close()
    origin.close()
    client = Client(own.host)
    assert pull(client, "team/app", "v1") == (digest, LAYER)
    absent = client.ask("GET", "/v2/team/app/manifests/v2")
    assert (absent.status, absent.code) == (503, "UNAVAILABLE")
    client.close()


def test_a_tag_that_moved_is_seen_when_its_time_is_over(
    own: KedgeRegistry, origin: KedgeRegistry
) -> None:
    source = Client(origin.host)
    first = source.push_image("team/app", "v1", b"first")
    own.flags = ("--cache-of", f"http://{origin.host}", "--cache-ttl", "0s")
    own.start()
    client = Client(own.host)
    assert pull(client, "team/app", "v1") == (first, b"first")
    assert pull(client, "team/app", "v1") == (first, b"first")
    second = source.push_image("team/app", "v1", b"second")
    assert pull(client, "team/app", "v1") == (second, b"second")
    # Unreachable, its last word counts.
    source.close()
    origin.close()
    assert pull(client, "team/app", "v1") == (second, b"second")
    client.close()


def test_what_a_cache_refuses(own: KedgeRegistry, origin: KedgeRegistry) -> None:
    own.flags = ("--cache-of", f"http://{origin.host}")
    own.start()
    client = Client(own.host)
    pushed = client.ask("POST", "/v2/team/app/blobs/uploads/")
    assert (pushed.status, pushed.code) == (405, "UNSUPPORTED")
    absent = client.ask("GET", "/v2/team/none/manifests/v1")
    assert (absent.status, absent.code) == (404, "MANIFEST_UNKNOWN")
    digest = f"sha256:{'0' * 64}"
    assert client.ask("GET", f"/v2/team/none/blobs/{digest}").code == "BLOB_UNKNOWN"
    client.close()


def test_an_origin_that_is_no_address(own: KedgeRegistry) -> None:
    own.flags = ("--cache-of", "docker.io")
    with pytest.raises(AssertionError, match=r"invalid origin 'docker\.io': want https://host"):
        own.start()


def test_a_cache_stays_below_its_size(own: KedgeRegistry, origin: KedgeRegistry) -> None:
    source = Client(origin.host)
    layers = {f"v{number}": bytes([number]) * 400_000 for number in range(5)}
    digests = {tag: source.push_image("team/app", tag, layer) for tag, layer in layers.items()}
    own.flags = ("--cache-of", f"http://{origin.host}", "--local-size", "1MB")
    own.start()
    client = Client(own.host)
    for _ in range(2):
        for tag, layer in layers.items():
            assert pull(client, "team/app", tag) == (digests[tag], layer)
            # The last one may be above the limit until it is sent.
            assert sum(own.local_blobs().values()) <= 1_400_000
    client.close()
    source.close()
    own.close()
    own.start()
    assert 400_000 <= sum(own.local_blobs().values()) <= 1_000_000
