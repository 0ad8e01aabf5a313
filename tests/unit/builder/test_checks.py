"""The build checks against BuildKit's own cases, and what ``--call`` prints."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.builder.checks.checking import CheckReport, CheckRequest, check_dockerfile
from kedge.builder.checks.options import parse_check_options, unknown_rules
from kedge.builder.checks.outline import list_targets, outline
from kedge.builder.checks.present import (
    check_document,
    check_summary,
    check_text,
    outline_document,
    outline_text,
    targets_document,
    targets_text,
)
from kedge.builder.checks.rules import RULES
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.typed import parse_dockerfile
from kedge.builder.plan import plan_build
from kedge.lib.ignorefile import IgnoreMatcher, parse_ignore_file
from kedge.oci.image_spec import ContainerConfig, ImageConfig, RootFS
from kedge.oci.platforms import Platform

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("KEDGE_SHARED_DATA", REPOSITORY.parent / "shared/data"))
VECTORS = DATA / "vectors/dockerfile/lint.json"
LINUX = Platform("linux", "amd64")

needs_vectors = pytest.mark.skipif(not VECTORS.is_file(), reason=f"no test vectors at {VECTORS}")


class Found(msgspec.Struct, frozen=True, order=True):
    rule: str
    description: str
    detail: str
    url: str
    line: int


class Case(msgspec.Struct, kw_only=True):
    test: str
    dockerfile: str
    dockerignore: str | None = None
    frontend_attrs: dict[str, str] = {}
    warnings: list[Found] = []
    warnings_when_checking_only: list[Found] | None = None
    build_error: str = ""
    build_error_regexp: str = ""
    build_error_line: int = 0


class Documented(msgspec.Struct):
    note: str
    dockerfile: str


class Example(msgspec.Struct, kw_only=True):
    rule: str
    bad: list[Documented]
    good: list[Documented]
    dockerignore: str | None = None


class VectorRule(msgspec.Struct):
    rule: str
    description: str
    url: str
    experimental: bool


class Vectors(msgspec.Struct):
    rules: list[VectorRule]
    doc_examples: list[Example]
    cases: list[Case]


def vectors() -> Vectors:
    if not VECTORS.is_file():
        return Vectors([], [], [])
    return msgspec.json.decode(VECTORS.read_bytes(), type=Vectors)


def base_config(name: str, _platform: Platform) -> ImageConfig:
    env = ["PATH=/bin", *(["PYTHON_VERSION=3"] if name == "python" else [])]
    return ImageConfig(rootfs=RootFS(diff_ids=[]), config=ContainerConfig(env=env))


def check(text: str, *, ignore: str | None = None, **options: object) -> CheckReport:
    ignored = IgnoreMatcher(parse_ignore_file(ignore)) if ignore is not None else None
    request = CheckRequest(
        text=text,
        ignored=ignored,
        build_platform=LINUX,
        target_platform=LINUX,
        find_config=base_config,
        **options,  # type: ignore[arg-type]
    )
    return check_dockerfile(request)


def facts(report: CheckReport) -> list[Found]:
    return [
        Found(each.rule.name, each.rule.description, each.detail, each.rule.url, each.line)
        for each in report.warnings
    ]


@needs_vectors
def test_the_rules_are_buildkits() -> None:
    assert [
        VectorRule(rule.name, rule.description, rule.url, rule.is_experimental) for rule in RULES
    ] == vectors().rules


@needs_vectors
@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{n}-{case.test}") for n, case in enumerate(vectors().cases)]
)
def test_buildkits_cases(case: Case) -> None:
    build_args = {
        name.removeprefix("build-arg:"): value for name, value in case.frontend_attrs.items()
    }
    report = check(
        case.dockerfile, ignore=case.dockerignore, only_needed=True, build_args=build_args
    )
    assert sorted(facts(report)) == sorted(case.warnings)
    every = check(case.dockerfile, ignore=case.dockerignore, build_args=build_args)
    checking = case.warnings_when_checking_only
    if checking is not None and case.test == "testLegacyKeyValueFormat":
        # Upstream's lines are those of another file: there is nothing on line 3 here.
        checking = [msgspec.structs.replace(each, line=each.line + 2) for each in checking]
    assert sorted(facts(every)) == sorted(case.warnings if checking is None else checking)
    failure = report.error or report.failure()
    if case.build_error:
        assert failure is not None
        assert case.build_error_line == failure.line
        if "lint violation" in case.build_error:
            assert case.build_error in str(failure)
    elif not case.build_error_regexp:
        assert failure is None


NOT_SO = {
    # The ignore file has */tmp/*, which leaves tmp/helloworld.txt in.
    ("CopyIgnoredFile", "COPY ./tmp/helloworld.txt /helloworld.txt\n"),
    # These are two arguments.
    ("LegacyKeyValueFormat", "ARG foo bar\n"),
    # Cut out of the page with its quotation marks.
    ("LegacyKeyValueFormat", '> curl \\\n> git \\\n> make"\n> '),
}


@needs_vectors
@pytest.mark.parametrize("example", [pytest.param(e, id=e.rule) for e in vectors().doc_examples])
def test_the_examples_of_the_documentation(example: Example) -> None:
    only = {"BUILDKIT_DOCKERFILE_CHECK": f"experimental={example.rule}"}
    for bad in example.bad:
        if (example.rule, bad.dockerfile.partition("\n")[2]) in NOT_SO:
            continue
        # Some are pieces of a file.
        text = bad.dockerfile if "FROM" in bad.dockerfile.upper() else f"FROM a\n{bad.dockerfile}"
        report = check(text, ignore=example.dockerignore, build_args=only)
        assert example.rule in {each.rule.name for each in report.warnings}, bad.dockerfile
    for good in example.good:
        report = check(good.dockerfile, ignore=example.dockerignore, build_args=only)
        assert example.rule not in {each.rule.name for each in report.warnings}, good.dockerfile


def test_options_are_checked() -> None:
    assert parse_check_options("skip=A, B ; error=1").is_fatal
    for bad in ("skipp=A", "error=maybe", "skip"):
        with pytest.raises(DockerfileError):
            parse_check_options(bad)
    assert unknown_rules(parse_check_options("skip=FromAsCasin,all")) == [
        "fromascasin (did you mean FromAsCasing?)"
    ]
    report = check("# check=skipp=A\nFROM scratch\n")
    assert str(report.error) == (
        "dockerfile parse error on line 1: invalid check option skipp=A (did you mean skip?)"
    )


TEXT = """\
# syntax=docker/dockerfile:1

# VERSION of everything
ARG VERSION=1
# base is where it begins
FROM alpine:$VERSION AS base
ARG VERSION
# LEVEL of detail
ARG LEVEL=${VERSION}x OTHER
RUN --mount=type=secret,id=tok,required --mount=type=ssh --mount=type=cache,target=/c x

FROM base
CMD run
"""


def test_a_check_in_words() -> None:
    report = check(TEXT)
    assert check_summary(report) == "Check complete, 1 warning has been found!"
    assert check_text(report, TEXT, "Dockerfile") == (
        "\nWARNING: JSONArgsRecommended - "
        "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals\n"
        "Dockerfile:13\n--------------------\n"
        "  10 |     RUN --mount=type=secret,id=tok,required --mount=type=ssh "
        "--mount=type=cache,target=/c x\n"
        "  11 |     \n  12 |     FROM base\n  13 | >>> CMD run\n  14 |     \n"
        "--------------------\n"
    )
    assert check_summary(check("FROM scratch\n")) == "Check complete, no warnings found."


def test_a_check_as_json() -> None:
    text = "FROM scratch\nCMD x\nNOPE\n"
    document = json.loads(json.dumps(check_document(check(text), text, "D")))
    assert document["buildError"] == {
        "message": "dockerfile parse error on line 3: unknown instruction: NOPE",
        "location": {"ranges": [{"start": {"line": 3}, "end": {"line": 3}}]},
    }
    assert document["sources"][0]["filename"] == "D"
    warned = check_document(check("from scratch as A\n"), "", "D")["warnings"]
    assert warned == [
        {
            "ruleName": "StageNameCasing",
            "description": "Stage names should be lowercase",
            "url": "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
            "detail": "Stage name 'A' should be lowercase",
            "location": {"ranges": [{"start": {"line": 1}, "end": {"line": 1}}]},
        }
    ]


def test_outline_and_targets() -> None:
    dockerfile = parse_dockerfile(TEXT)
    build_args = {"OTHER": "o"}
    plan = plan_build(
        dockerfile, target="", build_args=build_args, build_platform=LINUX, target_platform=LINUX
    )
    found = outline(dockerfile, plan, build_args)
    assert outline_text(found) == (
        "BUILD ARG   VALUE   DESCRIPTION\n"
        "VERSION     1       \n"
        "LEVEL       1x      of detail\n"
        "OTHER       o       \n"
        "\nSECRET   REQUIRED\ntok      true\n"
        "\nSSH       REQUIRED\ndefault   \n"
    )
    document = outline_document(found, TEXT)
    assert document["cache"] == [
        {"ID": "/c", "location": {"ranges": [{"start": {"line": 10}, "end": {"line": 10}}]}}
    ]
    targets = list_targets(dockerfile)
    assert targets_text(targets) == (
        "TARGET      DESCRIPTION\nbase        is where it begins\n(default)   \n"
    )
    listed = targets_document(targets, TEXT)["targets"]
    assert isinstance(listed, list)
    assert listed[0] == {
        "name": "base", "description": "is where it begins", "base": "alpine:$VERSION",
        "location": {"ranges": [{"start": {"line": 6}, "end": {"line": 6}}]},
    }  # fmt: skip


@given(
    st.lists(
        st.sampled_from(
            [
                "FROM scratch", "from scratch as A", "FROM $b", "ARG b=x", "ENV a 1", "ENV k=$v",
                "COPY $x .", "WORKDIR r", "EXPOSE 1:2", "CMD x", "ONBUILD CMD y", "NOPE", "\\", "",
                "# check=skip=all", "# check=x", "RUN <<E", "E", "COPY --from=0 / /", "USER ${a?}",
            ]
        ),
        max_size=12,
    )
)  # fmt: skip
def test_a_check_answers_whatever_the_file(lines: list[str]) -> None:
    text = "\n".join(lines)
    report = check(text)
    assert all(1 <= warning.line <= len(lines) for warning in report.warnings)
    assert "\n" not in str(report.error or "")
    assert check_document(report, text, "Dockerfile")["sources"]
    assert check_text(report, text, "Dockerfile").count("WARNING: ") == len(report.warnings)
