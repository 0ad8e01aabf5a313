"""A registry's life: crashes, a second one, garbage, signals, metrics, being read-only."""

import json
import os
import random
import threading
from collections.abc import Mapping

import pytest

from kedge.oci.hashing import sha256_digest
from tests.kedgeregistry import OCTETS, Client, KedgeRegistry

pytestmark = pytest.mark.integration


def ask(host: str, method: str, path: str) -> int:
    client = Client(host)
    try:
        return client.ask(method, path).status
    finally:
        client.close()


class Pusher(threading.Thread):
    """Pushes images one after the other until the registry is gone; knows what was taken."""

    def __init__(self, host: str, name: str, seed: int) -> None:
        super().__init__()
        self._host, self._name = host, name
        self._random = random.Random(seed)
        self.taken: dict[str, str] = {}

    def run(self) -> None:
        client = Client(self._host)
        for number in range(10_000):
            layer = self._random.randbytes(self._random.choice((10, 5_000, 300_000)))
            try:
                self.taken[f"v{number}"] = client.push_image(self._name, f"v{number}", layer)
            except OSError:
                break
            except Exception as error:
                # http.client has no common class for a peer that went away.
                if type(error).__module__ != "http.client":
                    raise
                break
        client.close()


def check_taken(client: Client, taken: Mapping[tuple[str, str], str]) -> None:
    """See that every image is there whole, by repository and tag, with the digest it was given."""
    for (repository, tag), digest in taken.items():
        answer = client.ask("GET", f"/v2/{repository}/manifests/{tag}")
        assert answer.headers.get("docker-content-digest") == digest, (repository, tag)
        for layer in json.loads(answer.body)["layers"]:
            blob = client.ask("GET", f"/v2/{repository}/blobs/{layer['digest']}")
            assert sha256_digest(blob.body) == layer["digest"]


def test_killed_under_load_it_keeps_what_it_took(own: KedgeRegistry) -> None:
    taken: dict[tuple[str, str], str] = {}
    chance = random.Random(7)
    own.start()
    for life in range(5):
        pushers = [Pusher(own.host, f"life{life}/{n}", 10 * life + n) for n in range(3)]
        for pusher in pushers:
            pusher.start()
        goal = chance.randrange(1, 12)
        while sum(len(pusher.taken) for pusher in pushers) < goal:
            pushers[0].join(0.002)
        own.kill()
        for pusher in pushers:
            pusher.join()
        own.start()
        for number, pusher in enumerate(pushers):
            taken |= {(f"life{life}/{number}", tag): d for tag, d in pusher.taken.items()}
    client = Client(own.host)
    check_taken(client, taken)
    assert os.listdir(own.root / "registry/content/ingest") == []
    client.close()


def test_two_registries_do_not_share_a_directory(own: KedgeRegistry) -> None:
    own.start()
    second = KedgeRegistry(own.root)
    with pytest.raises(AssertionError, match="kedge registry: another registry serves"):
        second.start()
    second.close()


def test_garbage_goes_and_nothing_else(own: KedgeRegistry) -> None:
    own.flags = ("--keep-unused", "0s", "--keep-untagged", "0s")
    own.start()
    client = Client(own.host)
    kept = client.push_image("keep/it", "v1", b"kept")
    gone = client.push_image("drop/it", "v1", b"gone")
    shared = client.push_image("drop/shared", "v1", b"kept")
    orphan = client.push_blob("keep/it", b"nobody needs this")
    for repository, digest in (("drop/it", gone), ("drop/shared", shared)):
        assert client.ask("DELETE", f"/v2/{repository}/manifests/{digest}").status == 202
    replaced = client.push_image("keep/moved", "v1", b"old")
    client.push_image("keep/moved", "v1", b"new")
    idle = client.ask("POST", "/v2/keep/it/blobs/uploads/").headers["location"]
    said = own.collect()
    assert said.startswith("collected garbage: 1 manifests, 3 blobs ("), said
    assert "1 uploads given up" in said
    left = own.local_blobs().keys()
    assert left == {sha256_digest(data) for data in (b"{}", b"kept", b"new")}
    assert orphan not in left
    assert client.ask("GET", "/v2/keep/it/manifests/v1").headers["docker-content-digest"] == kept
    assert client.ask("GET", f"/v2/keep/moved/manifests/{replaced}").status == 404
    assert client.ask("GET", idle).code == "BLOB_UPLOAD_UNKNOWN"
    client.close()


def test_pushing_goes_on_while_garbage_is_collected(own: KedgeRegistry) -> None:
    own.flags = (
        "--keep-unused",
        "1h",
    )
    own.start()
    pushers = [Pusher(own.host, f"busy/{n}", n) for n in range(2)]
    for pusher in pushers:
        pusher.start()
    for _ in range(20):
        assert own.collect().startswith("collected garbage: 0 manifests, 0 blobs")
    own.kill()
    for pusher in pushers:
        pusher.join()
    own.start()
    for number, pusher in enumerate(pushers):
        assert pusher.taken
        for tag in pusher.taken:
            assert ask(own.host, "HEAD", f"/v2/busy/{number}/manifests/{tag}") == 200


def test_an_upload_goes_on_after_its_client_vanished(own: KedgeRegistry) -> None:
    own.start()
    client = Client(own.host)
    place = client.ask("POST", "/v2/resume/it/blobs/uploads/").headers["location"]
    broken = Client(own.host)
    connection = broken.connection
    connection.putrequest("PATCH", place)
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"a" * 600)
    connection.close()
    while (status := client.ask("GET", place)).headers["range"] == "0-0":
        pass
    assert status.headers["range"] == "0-599"
    data = b"a" * 600 + b"b" * 400
    while (
        done := client.ask("PUT", f"{place}?digest={sha256_digest(data)}", b"b" * 400, OCTETS)
    ).status == 400:
        # The request that broke off still holds the upload for a moment.
        assert "being written" in done.body.decode()
    assert done.status == 201
    client.close()


def test_a_read_only_registry_gives_and_does_not_take(own: KedgeRegistry) -> None:
    own.start()
    client = Client(own.host)
    client.push_image("team/app", "v1")
    client.close()
    own.close()
    own.flags = ("--read-only",)
    own.start()
    client = Client(own.host)
    assert client.ask("GET", "/v2/team/app/manifests/v1").status == 200
    for method, path in (
        ("POST", "/v2/team/app/blobs/uploads/"),
        ("PUT", "/v2/team/app/manifests/v2"),
        ("DELETE", "/v2/team/app/manifests/v1"),
    ):
        answer = client.ask(method, path)
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    client.close()


def test_the_metrics(own: KedgeRegistry) -> None:
    with_port = "127.0.0.1:0"
    own.flags = ("--metrics", with_port)
    own.start()
    client = Client(own.host)
    client.push_image("count/me", "v1", b"12345")
    place = own.next_line().partition("metrics on http://")[2].removesuffix("/metrics\n")
    counted = Client(place)
    text = counted.ask("GET", "/metrics").body.decode()
    assert 'kedge_registry_requests_total{method="PUT",status="201"} 1' in text
    assert "kedge_registry_open_uploads 0" in text
    assert counted.ask("GET", "/v2/").status == 404
    counted.close()
    client.close()
