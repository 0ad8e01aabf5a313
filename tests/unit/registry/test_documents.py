import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.oci.media_types import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from kedge.registry.documents import parse_document
from kedge.registry.failures import DistributionError, ErrorCode

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def entry(digest: str, media_type: str = "x/y", **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": 1, **more}


def document(**members: object) -> bytes:
    return json.dumps({"schemaVersion": 2, **members}).encode()


def test_a_manifest_needs_its_config_and_layers_but_no_foreign_ones() -> None:
    foreign = entry(C, FOREIGN, urls=["https://example.com/layer"])
    data = document(config=entry(A, "cfg/1"), layers=[entry(B), foreign], annotations={"k": "v"})
    parsed = parse_document(data, OCI_MANIFEST)
    assert (parsed.blobs, parsed.children, parsed.subject) == ((A, B), (), "")
    assert (parsed.artifact_type, parsed.annotations) == ("cfg/1", {"k": "v"})


def test_an_index_needs_its_manifests() -> None:
    data = document(manifests=[entry(A), entry(B)], subject=entry(C), artifactType="list/1")
    parsed = parse_document(data, f"{OCI_INDEX}; charset=utf-8")
    assert (parsed.blobs, parsed.children) == ((), (A, B))
    assert (parsed.subject, parsed.artifact_type) == (C, "list/1")


def test_without_a_type_the_bytes_tell() -> None:
    assert parse_document(document(manifests=[]), "").media_type == OCI_INDEX


@pytest.mark.parametrize(
    ("data", "content_type", "reason"),
    [
        (b"\xff", OCI_MANIFEST, "invalid manifest"),
        (document(config=entry(A), layers=[]), "text/html", 'unknown media type "text/html"'),
        (document(config=entry("sha256:a"), layers=[]), OCI_MANIFEST, 'digest "sha256:a"'),
        (document(config=entry(A), layers=[], manifests=[]), OCI_MANIFEST, "must not have"),
        (
            document(config=entry(A), layers=[], mediaType=DOCKER_MANIFEST),
            OCI_MANIFEST,
            "but was pushed as",
        ),
        (b'{"schemaVersion": 1}', "", "schema 1"),
    ],
)
def test_refused(data: bytes, content_type: str, reason: str) -> None:
    with pytest.raises(DistributionError, match=reason) as caught:
        parse_document(data, content_type)
    assert caught.value.code is ErrorCode.MANIFEST_INVALID


@given(st.binary(max_size=200) | st.from_regex(rb'\{"schemaVersion":2,"[a-z]+":.*\}'))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        parsed = parse_document(data, OCI_MANIFEST)
    except DistributionError:
        return
    assert parsed.media_type == OCI_MANIFEST
