import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.server.registry.paths import Kind, Target, parse_path

COMPONENT = st.sampled_from(["a", "app", "blobs", "manifests", "uploads", "tags", "list", "v2"])
NAMES = st.lists(COMPONENT, min_size=1, max_size=5).map("/".join)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2", Target(Kind.VERSION)),
        ("/v2/", Target(Kind.VERSION)),
        ("/v2/_catalog", Target(Kind.CATALOG)),
        ("/v2/a/b/tags/list", Target(Kind.TAGS, "a/b")),
        ("/v2/a/manifests/v1", Target(Kind.MANIFEST, "a", "v1")),
        ("/v2/a/b/blobs/sha256:0", Target(Kind.BLOB, "a/b", "sha256:0")),
        ("/v2/a/blobs/uploads/", Target(Kind.UPLOADS, "a")),
        ("/v2/a/blobs/uploads", Target(Kind.UPLOADS, "a")),
        ("/v2/a/blobs/uploads/1f", Target(Kind.UPLOAD, "a", "1f")),
        ("/v2/a/referrers/sha256:0", Target(Kind.REFERRERS, "a", "sha256:0")),
        ("/v2/blobs/uploads", None),
        ("/v2/a/manifests/", None),
        ("/v2/manifests/v1", None),
        ("/v2/a", None),
        ("/v3/", None),
        ("/", None),
    ],
)
def test_paths(path: str, target: Target | None) -> None:
    assert parse_path(path) == target


@given(NAMES, st.sampled_from(["v1", "tags", "manifests"]))
def test_a_manifest_of_any_name_is_found(name: str, tag: str) -> None:
    assert parse_path(f"/v2/{name}/manifests/{tag}") == Target(Kind.MANIFEST, name, tag)


@given(NAMES)
def test_uploads_of_any_name_are_found(name: str) -> None:
    assert parse_path(f"/v2/{name}/blobs/uploads/") == Target(Kind.UPLOADS, name)
    assert parse_path(f"/v2/{name}/blobs/uploads/1f") == Target(Kind.UPLOAD, name, "1f")
    assert parse_path(f"/v2/{name}/tags/list") == Target(Kind.TAGS, name)
