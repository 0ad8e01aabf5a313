"""``--check``, ``--call`` and the warnings of a build, through the command."""

import json
from pathlib import Path

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.integration

TEXT = """\
# who is greeted
ARG WHO=you
FROM busybox AS Base
# NAME of somebody
ARG NAME=me
RUN --mount=type=secret,id=tok echo hello
FROM base
CMD echo $NAME
"""
WARNINGS = (
    "StageNameCasing: Stage name 'Base' should be lowercase (line 3)",
    (
        "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior "
        "related to OS signals (line 8)"
    ),
)


def write(folder: Path, text: str) -> str:
    (folder / "Dockerfile").write_text(text)
    return str(folder)


def test_a_check_builds_nothing(shared_engine: Engine, tmp_path: Path) -> None:
    context = write(tmp_path, TEXT)
    done = shared_engine.kedge("build", "--check", "-t", "checked", context, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith(
        "Check complete, 2 warnings have been found!\n\nWARNING: StageNameCasing - https://"
    )
    assert "\n   3 | >>> FROM busybox AS Base\n" in done.stdout
    assert shared_engine.docker("images", "-q", "checked").stdout == ""
    clean = shared_engine.kedge("build", "--check", write(tmp_path, "FROM busybox\n"))
    assert clean.stdout == "Check complete, no warnings found.\n"
    broken = shared_engine.kedge(
        "build", "--check", write(tmp_path, "FROM busybox\nCOPPY a b\n"), check=False
    )
    assert "unknown instruction: COPPY (did you mean COPY?)" in broken.stdout


def test_calls_answer_as_text_and_json(shared_engine: Engine, tmp_path: Path) -> None:
    context = write(tmp_path, TEXT)
    outline = shared_engine.kedge("build", "--call=outline", context).stdout
    assert outline == (
        "BUILD ARG   VALUE   DESCRIPTION\nNAME        me      of somebody\n"
        "\nSECRET   REQUIRED\ntok      \n"
    )
    listed = shared_engine.kedge("build", "--call=targets,format=json", context).stdout
    names = [target.get("name") for target in json.loads(listed)["targets"]]
    assert names == ["base", None]
    wrong = shared_engine.kedge("build", "--call=nope", context, check=False)
    assert wrong.stderr.startswith("kedge: invalid --call nope: must be one of check, outline")


def test_a_build_ends_with_its_warnings(shared_engine: Engine, tmp_path: Path) -> None:
    said = shared_engine.docker("build", write(tmp_path, TEXT)).stdout.splitlines()
    assert [line for line in said if line.startswith("[Warning]")] == [
        f"[Warning] {text}" for text in WARNINGS
    ]
    none = shared_engine.docker("build", write(tmp_path, f"# check=skip=all\n{TEXT}")).stdout
    assert "[Warning]" not in none


def test_warnings_can_end_a_build_before_it_runs(shared_engine: Engine, tmp_path: Path) -> None:
    context = write(tmp_path, TEXT)
    done = shared_engine.kedge(
        "build", "--progress", "plain", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true",
        context, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Step" not in done.stdout
    assert done.stderr == (
        "kedge: build failed: dockerfile parse error on line 3: lint violation found for rules: "
        "JSONArgsRecommended, StageNameCasing\n"
    )
