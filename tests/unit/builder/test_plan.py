import pytest

from kedge.builder.arguments import proxy_environment, source_date_epoch, unconsumed_args
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.typed import parse_dockerfile
from kedge.builder.plan import BuildPlan, SourceKind, plan_build
from kedge.oci.platforms import Platform

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


def plan(text: str, target: str = "", **build_args: str) -> BuildPlan:
    return plan_build(
        parse_dockerfile(text),
        target=target,
        build_args=build_args,
        build_platform=AMD64,
        target_platform=AMD64,
    )


STAGES = """\
FROM a AS one
FROM b AS two
COPY --from=one /x /x
FROM c AS unused
FROM two AS Last
COPY --from=0 /x /y
COPY --from=busybox:1 /bin /bin
RUN --mount=from=two,target=/z true
"""


def test_only_needed_stages_are_built_in_order() -> None:
    assert plan(STAGES).order == (0, 1, 3)
    assert plan(STAGES, "two").order == (0, 1)
    assert plan(STAGES, "UNUSED").order == (2,)
    assert plan(STAGES, "1").target == 1


def test_a_stage_name_hides_an_image_and_a_later_stage_does_not() -> None:
    planned = plan("FROM alpine\nFROM alpine AS alpine\nFROM alpine\n")
    assert [stage.source.kind for stage in planned.stages] == [
        SourceKind.IMAGE,
        SourceKind.IMAGE,
        SourceKind.STAGE,
    ]
    assert planned.find_stage("busybox", user=0).image == "busybox"


def test_from_is_expanded_with_global_arguments() -> None:
    text = "ARG V=3\nARG BASE=python:$V\nFROM ${BASE}-slim\n"
    assert plan(text).stages[0].source.image == "python:3-slim"
    assert plan(text, V="4").stages[0].source.image == "python:4-slim"
    assert plan("FROM --platform=$BUILDPLATFORM a\n").stages[0].platform == AMD64
    assert plan("FROM --platform=linux/arm64 a\n").stages[0].platform == ARM64


@pytest.mark.parametrize(
    ("text", "target", "reason"),
    [
        ("FROM $NOTHING\n", "", r"on line 1: base name \(\$NOTHING\) should not be blank"),
        ("FROM a AS build\n", "biuld", r'"biuld" could not be found \(did you mean build\?\)'),
        ("FROM a\nCOPY --from=1 x y\nFROM b\n", "", "on line 2: invalid stage index 1"),
        ("FROM a\nCOPY --from=later x y\nFROM b AS later\n", "", "needs to be defined before"),
        ("FROM --platform=pdp/11/x/y a\n", "", "failed to parse platform"),
        ("FROM --platform=$NONE a\n", "", "empty platform value from expression"),
    ],
)
def test_what_cannot_be_planned(text: str, target: str, reason: str) -> None:
    with pytest.raises(DockerfileError, match=reason):
        plan(text, target)


def test_unconsumed_arguments_leave_out_the_predefined_ones() -> None:
    dockerfile = parse_dockerfile("ARG A\nFROM a\nARG B\n")
    names = "A B C http_proxy HTTP_PROXY SOURCE_DATE_EPOCH BUILDKIT_X TARGETOS"
    given: dict[str, str] = dict.fromkeys(names.split(), "1")
    assert unconsumed_args(dockerfile, given, {"TARGETOS": "linux"}) == ["C"]


def test_proxies_reach_both_spellings() -> None:
    assert proxy_environment({"http_proxy": "p", "A": "b"}) == ("HTTP_PROXY=p", "http_proxy=p")
    assert proxy_environment({}) == ()


def test_source_date_epoch() -> None:
    newest = {"context": 7_900_000_000}.get
    assert source_date_epoch({"SOURCE_DATE_EPOCH": "5"}, {}, newest) == 5_000_000_000
    assert source_date_epoch({}, {"SOURCE_DATE_EPOCH": "6"}, newest) == 6_000_000_000
    assert source_date_epoch({"SOURCE_DATE_EPOCH": "context"}, {}, newest) == 7_000_000_000
    assert source_date_epoch({}, {}, newest) is None
    with pytest.raises(DockerfileError, match="SOURCE_DATE_EPOCH yesterday"):
        source_date_epoch({"SOURCE_DATE_EPOCH": "yesterday"}, {}, newest)
