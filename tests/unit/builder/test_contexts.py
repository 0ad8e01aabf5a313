"""Names of contexts, and what the plan makes of them."""

import pytest

from kedge.builder.contexts import ImageContext, RemoteContext, context_key, parse_context
from kedge.builder.dockerfile.typed import parse_dockerfile
from kedge.builder.plan import BuildPlan, Source, SourceKind, plan_build
from kedge.errdefs import InvalidParameterError
from kedge.oci.platforms import Platform

LINUX = Platform("linux", "amd64")
ARM = Platform("linux", "arm64")


def plan(text: str, *contexts: str, target: str = "") -> BuildPlan:
    return plan_build(
        parse_dockerfile(text),
        target=target,
        build_args={},
        build_platform=LINUX,
        target_platform=LINUX,
        contexts=contexts,
    )


@pytest.mark.parametrize(
    ("name", "names", "found"),
    [
        ("alpine", ["alpine"], "alpine"),
        ("docker.io/library/alpine:latest", ["alpine"], "alpine"),
        ("alpine", ["docker.io/library/alpine:latest"], "docker.io/library/alpine:latest"),
        ("alpine:3", ["alpine"], ""),
        ("Src", ["src"], "src"),
        ("src", ["src", "src::linux/amd64"], "src::linux/amd64"),
        ("src", ["src::linux/arm64"], ""),
        ("..", ["x"], ""),
    ],
)
def test_a_name_is_compared_as_an_image_reference(name: str, names: list[str], found: str) -> None:
    assert context_key(name, LINUX, names) == found


def test_a_name_for_one_platform_is_for_no_other() -> None:
    assert context_key("src", ARM, ["src::linux/amd64"]) == ""


def test_a_context_replaces_a_stage_with_its_instructions() -> None:
    made = plan("FROM a AS base\nRUN x\nFROM base\nCOPY --from=base / /\n", "base")
    assert made.stages[0].source == Source(SourceKind.CONTEXT, context="base")
    assert made.stages[0].commands == ()
    assert made.order == (0, 1)


def test_a_context_replaces_an_image_in_from_and_copy() -> None:
    made = plan("FROM alpine\nCOPY --from=src:latest / /\n", "alpine", "src")
    assert made.stages[0].source == Source(SourceKind.CONTEXT, context="alpine")
    assert made.find_stage("src", user=0) == Source(SourceKind.CONTEXT, context="src")
    assert made.find_stage("other", user=0).kind is SourceKind.IMAGE


def test_a_context_is_an_image_or_a_url() -> None:
    assert parse_context("a", "docker-image://b:1") == ImageContext(reference="b:1")
    for url in ("https://x/y.tar", "https://x/y.git#main", "git@x:y/z.git"):
        assert parse_context("a", url) == RemoteContext(url=url)
    for bad in ("folder", "docker-image://B", "target:x"):
        with pytest.raises(InvalidParameterError):
            parse_context("a", bad)
