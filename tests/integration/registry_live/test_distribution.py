"""Our own reading of distribution-spec 1.1, endpoint by endpoint (its table end-1 to end-14)."""

import hashlib
import json

import pytest

from kedge.oci.hashing import sha256_digest
from tests.kedgeregistry import CONFIG, INDEX, MANIFEST, OCTETS, Client, image

pytestmark = pytest.mark.integration

ABSENT = sha256_digest(b"absent")


def sha512(data: bytes) -> str:
    return f"sha512:{hashlib.sha512(data).hexdigest()}"


def test_end_1_the_version(client: Client) -> None:
    answer = client.ask("GET", "/v2/")
    assert (answer.status, answer.headers["docker-distribution-api-version"]) == (
        200,
        "registry/2.0",
    )


def test_end_2_a_blob_whole_its_head_and_parts(client: Client) -> None:
    digest = client.push_blob("get/blob", b"0123456789")
    path = f"/v2/get/blob/blobs/{digest}"
    whole = client.ask("GET", path)
    assert (whole.status, whole.body) == (200, b"0123456789")
    assert whole.headers["docker-content-digest"] == digest
    head = client.ask("HEAD", path)
    assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")
    for asked, part, got in (
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ):
        answer = client.ask("GET", path, headers={"Range": asked})
        assert (answer.status, answer.body) == (206, part)
        assert answer.headers["content-range"] == got
    for asked in ("bytes=10-", "bytes=5-2"):
        answer = client.ask("GET", path, headers={"Range": asked})
        assert (answer.status, answer.code) == (416, "RANGE_INVALID")
        assert answer.headers["content-range"] == "bytes */10"
    # Another repository of the same registry does not have it.
    assert client.ask("GET", f"/v2/get/other/blobs/{digest}").code == "BLOB_UNKNOWN"


def test_end_3_a_manifest_by_tag_and_digest(client: Client) -> None:
    digest = client.push_image("get/manifest", "v1")
    for reference in ("v1", digest):
        answer = client.ask("GET", f"/v2/get/manifest/manifests/{reference}")
        assert (answer.status, answer.headers["content-type"]) == (200, MANIFEST)
        assert sha256_digest(answer.body) == digest == answer.headers["docker-content-digest"]
        head = client.ask("HEAD", f"/v2/get/manifest/manifests/{reference}")
        assert head.headers["content-length"] == str(len(answer.body))
    absent = client.ask("GET", "/v2/get/manifest/manifests/v2")
    assert (absent.status, absent.code) == (404, "MANIFEST_UNKNOWN")


def test_end_4_to_6_an_upload_in_chunks(client: Client) -> None:
    begun = client.ask("POST", "/v2/put/chunks/blobs/uploads/")
    assert begun.status == 202
    place = begun.headers["location"]
    first = client.ask("PATCH", place, b"abc", {**OCTETS, "Content-Range": "0-2"})
    assert (first.status, first.headers["range"]) == (202, "0-2")
    wrong = client.ask("PATCH", place, b"x", {**OCTETS, "Content-Range": "9-9"})
    assert wrong.status == 416
    status = client.ask("GET", wrong.headers["location"])
    assert (status.status, status.headers["range"]) == (204, "0-2")
    short = client.ask("PATCH", place, b"de", {**OCTETS, "Content-Range": "3-9"})
    assert (short.status, short.code) == (400, "BLOB_UPLOAD_INVALID")
    digest = sha256_digest(b"abcdef")
    done = client.ask("PUT", f"{place}?digest={digest}", b"def", {"Content-Range": "3-5"})
    assert (done.status, done.headers["location"]) == (201, f"/v2/put/chunks/blobs/{digest}")
    assert client.ask("GET", done.headers["location"]).body == b"abcdef"
    assert client.ask("GET", place).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_streamed_upload_without_a_length(client: Client) -> None:
    place = client.ask("POST", "/v2/put/stream/blobs/uploads/").headers["location"]
    client.connection.request("PATCH", place, iter([b"ab" * 1000, b"c"]), encode_chunked=True)
    answer = client.connection.getresponse()
    answer.read()
    assert answer.status == 202
    digest = sha256_digest(b"ab" * 1000 + b"c")
    assert client.ask("PUT", f"{place}?digest={digest}").status == 201


def test_an_upload_with_another_digest_is_refused_and_gone(client: Client) -> None:
    place = client.ask("POST", "/v2/put/bad/blobs/uploads/").headers["location"]
    refused = client.ask("PUT", f"{place}?digest={ABSENT}", b"other bytes", OCTETS)
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
    assert client.ask("GET", place).code == "BLOB_UPLOAD_UNKNOWN"
    assert client.ask("HEAD", f"/v2/put/bad/blobs/{ABSENT}").status == 404
    at_once = client.ask("POST", f"/v2/put/bad/blobs/uploads/?digest={ABSENT}", b"bytes", OCTETS)
    assert (at_once.status, at_once.code) == (400, "DIGEST_INVALID")


def test_an_upload_is_cancelled(client: Client) -> None:
    place = client.ask("POST", "/v2/put/cancel/blobs/uploads/").headers["location"]
    assert client.ask("DELETE", place).status == 204
    assert client.ask("PATCH", place, b"x", OCTETS).code == "BLOB_UPLOAD_UNKNOWN"


def test_other_digest_algorithms(client: Client) -> None:
    digest = sha512(b"long")
    place = client.ask("POST", "/v2/put/sha512/blobs/uploads/").headers["location"]
    assert client.ask("PUT", f"{place}?digest={digest}", b"long", OCTETS).status == 201
    assert client.ask("GET", f"/v2/put/sha512/blobs/{digest}").body == b"long"
    config = client.push_blob("put/sha512", b"{}")
    data = image(config, digest, 4)
    assert client.push_manifest("put/sha512", sha512(data), data).status == 201
    assert client.ask("GET", f"/v2/put/sha512/manifests/{sha512(data)}").body == data


def test_end_7_a_manifest_with_more_tags(client: Client) -> None:
    digest = client.push_image("put/tags", "first")
    data = client.ask("GET", "/v2/put/tags/manifests/first").body
    answer = client.push_manifest("put/tags", f"{digest}?tag=second&tag=third", data)
    assert answer.status == 201
    assert (
        client.ask("GET", "/v2/put/tags/tags/list").body
        == json.dumps(
            {"name": "put/tags", "tags": ["first", "second", "third"]}, separators=(",", ":")
        ).encode()
    )


@pytest.mark.parametrize(
    ("data", "media_type", "code"),
    [
        (b"{", MANIFEST, "MANIFEST_INVALID"),
        (b"[]", MANIFEST, "MANIFEST_INVALID"),
        (b'{"schemaVersion":2,"manifests":[],"layers":[]}', INDEX, "MANIFEST_INVALID"),
        (b'{"schemaVersion":2,"manifests":[]}', "text/plain", "MANIFEST_INVALID"),
        (b'{"schemaVersion":1}', "", "MANIFEST_INVALID"),
        (image(ABSENT, ABSENT, 1), MANIFEST, "MANIFEST_BLOB_UNKNOWN"),
        (image(ABSENT, ABSENT, 1), INDEX, "MANIFEST_INVALID"),
        (b"x" * ((4 << 20) + 1), MANIFEST, "SIZE_INVALID"),
    ],
    ids=["json", "array", "both", "type", "schema1", "blob", "confusion", "size"],
)
def test_manifests_that_are_refused(
    client: Client, data: bytes, media_type: str, code: str
) -> None:
    answer = client.push_manifest("put/refused", "v1", data, media_type)
    assert (answer.status, answer.code) == (413 if code == "SIZE_INVALID" else 400, code)
    assert client.ask("GET", "/v2/put/refused/manifests/v1").status == 404


def test_the_same_bytes_are_not_two_kinds_of_manifest(client: Client) -> None:
    data = b'{"schemaVersion":2,"manifests":[]}'
    docker = "application/vnd.docker.distribution.manifest.list.v2+json"
    assert client.push_manifest("put/kinds", "v1", data, INDEX).status == 201
    again = client.push_manifest("put/kinds", "v2", data, docker)
    assert (again.status, again.code) == (400, "MANIFEST_INVALID")


def test_end_8_tags_in_pages(client: Client) -> None:
    for tag in ("a", "B", "c", "d"):
        client.push_image("list/tags", tag)
    page = client.ask("GET", "/v2/list/tags/tags/list?n=3")
    assert json.loads(page.body)["tags"] == ["B", "a", "c"]
    assert page.headers["link"] == '</v2/list/tags/tags/list?n=3&last=c>; rel="next"'
    rest = client.ask("GET", "/v2/list/tags/tags/list?n=3&last=c")
    assert json.loads(rest.body)["tags"] == ["d"]
    assert "link" not in rest.headers
    assert json.loads(client.ask("GET", "/v2/list/tags/tags/list?n=0").body)["tags"] == []
    bad = client.ask("GET", "/v2/list/tags/tags/list?n=x")
    assert bad.code == "PAGINATION_NUMBER_INVALID"
    assert client.ask("GET", "/v2/list/none/tags/list").code == "NAME_UNKNOWN"


def test_end_9_and_10_deleting(client: Client) -> None:
    digest = client.push_image("delete/it", "v1", b"to go")
    client.push_image("delete/it", "v2", b"to go")
    assert client.ask("DELETE", "/v2/delete/it/manifests/v1").status == 202
    assert client.ask("GET", "/v2/delete/it/manifests/v2").status == 200
    assert client.ask("DELETE", f"/v2/delete/it/manifests/{digest}").status == 202
    assert client.ask("GET", "/v2/delete/it/manifests/v2").code == "MANIFEST_UNKNOWN"
    assert client.ask("DELETE", "/v2/delete/it/manifests/v1").code == "MANIFEST_UNKNOWN"
    blob = sha256_digest(b"to go")
    assert client.ask("DELETE", f"/v2/delete/it/blobs/{blob}").status == 202
    assert client.ask("HEAD", f"/v2/delete/it/blobs/{blob}").status == 404
    assert client.ask("DELETE", f"/v2/delete/it/blobs/{blob}").code == "BLOB_UNKNOWN"


def test_end_11_mounts(client: Client) -> None:
    digest = client.push_blob("mount/source", b"mounted")
    named = client.ask("POST", f"/v2/mount/named/blobs/uploads/?mount={digest}&from=mount/source")
    assert (named.status, named.headers["docker-content-digest"]) == (201, digest)
    anywhere = client.ask("POST", f"/v2/mount/anywhere/blobs/uploads/?mount={digest}")
    assert anywhere.status == 201
    assert client.ask("GET", f"/v2/mount/anywhere/blobs/{digest}").body == b"mounted"
    elsewhere = client.ask(
        "POST", f"/v2/mount/not/blobs/uploads/?mount={digest}&from=mount/nothing"
    )
    assert (elsewhere.status, "location" in elsewhere.headers) == (202, True)


def test_end_12_referrers(client: Client) -> None:
    subject = client.push_image("refer/to", "v1")
    config = client.push_blob("refer/to", b"{}")
    layer = client.push_blob("refer/to", b"sbom")
    about = {"mediaType": MANIFEST, "digest": subject, "size": 1}
    pushed: list[str] = []
    for kind in ("example/sbom", "example/signature"):
        data = image(config, layer, 4, subject=about, artifactType=kind, annotations={"kind": kind})
        answer = client.push_manifest("refer/to", sha256_digest(data), data)
        assert (answer.status, answer.headers["oci-subject"]) == (201, subject)
        pushed.append(sha256_digest(data))
    answer = client.ask("GET", f"/v2/refer/to/referrers/{subject}")
    assert answer.headers["content-type"] == INDEX
    found = json.loads(answer.body)["manifests"]
    assert [entry["digest"] for entry in found] == pushed
    assert [entry["annotations"]["kind"] for entry in found] == [
        "example/sbom",
        "example/signature",
    ]
    chosen = client.ask("GET", f"/v2/refer/to/referrers/{subject}?artifactType=example/sbom")
    assert [entry["digest"] for entry in json.loads(chosen.body)["manifests"]] == pushed[:1]
    assert chosen.headers["oci-filters-applied"] == "artifactType"
    client.ask("DELETE", f"/v2/refer/to/manifests/{pushed[0]}")
    left = client.ask("GET", f"/v2/refer/to/referrers/{subject}")
    assert [entry["digest"] for entry in json.loads(left.body)["manifests"]] == pushed[1:]
    nothing = client.ask("GET", f"/v2/refer/to/referrers/{ABSENT}")
    assert (nothing.status, json.loads(nothing.body)["manifests"]) == (200, [])


def test_a_config_type_is_the_artifact_type(client: Client) -> None:
    subject = client.push_image("refer/config", "v1")
    config = client.push_blob("refer/config", b"{}")
    layer = client.push_blob("refer/config", b"x")
    data = image(config, layer, 1, subject={"mediaType": MANIFEST, "digest": subject, "size": 1})
    client.push_manifest("refer/config", "about", data)
    found = json.loads(client.ask("GET", f"/v2/refer/config/referrers/{subject}").body)
    assert [entry["artifactType"] for entry in found["manifests"]] == [CONFIG]


def test_the_catalog(client: Client) -> None:
    client.push_image("catalog/one", "v1")
    client.push_image("catalog/two", "v1")
    page = client.ask("GET", "/v2/_catalog?n=1&last=catalog/")
    assert json.loads(page.body) == {"repositories": ["catalog/one"]}
    assert page.headers["link"] == '</v2/_catalog?n=1&last=catalog%2Fone>; rel="next"'


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/Upper/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a/manifests/-bad", 400, "TAG_INVALID"),
        ("GET", "/v2/a/blobs/sha256:short", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", 400, "DIGEST_INVALID"),
        ("POST", "/v2/a/tags/list", 405, "UNSUPPORTED"),
        ("PUT", "/v2/", 405, "UNSUPPORTED"),
        ("GET", "/v2/a", 404, "UNKNOWN"),
        ("GET", "/v1/search", 404, "UNKNOWN"),
        ("PATCH", "/v2/a/blobs/uploads/none", 404, "BLOB_UPLOAD_UNKNOWN"),
    ],
)
def test_what_is_refused(client: Client, method: str, path: str, status: int, code: str) -> None:
    answer = client.ask(method, path)
    assert (answer.status, answer.code) == (status, code)


def test_names_may_hold_the_words_of_paths(client: Client) -> None:
    digest = client.push_image("team/blobs/manifests", "tags")
    answer = client.ask("GET", "/v2/team/blobs/manifests/manifests/tags")
    assert answer.headers["docker-content-digest"] == digest
