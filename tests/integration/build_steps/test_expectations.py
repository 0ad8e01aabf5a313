"""The fifteen things people expect of a build cache, in the order of the reference."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kedge.builder.failures import StepFailedError
from kedge.builder.request import BuildResult
from kedge.builder.run_mounts import Lent
from tests.builders import Engine, open_engine

pytestmark = pytest.mark.integration

FILE = """\
FROM scratch AS unused
RUN write /never here
FROM scratch AS main
ARG V=1
COPY lock .
RUN write /dep $V
COPY src /src
RUN write /app built
"""
STEPS = 4


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path) as engine:
        (engine.context / "src").mkdir()
        for name in ("lock", "src/a", "src/b", "notes"):
            (engine.context / name).write_text(name)
        (engine.context / ".dockerignore").write_text("notes\n")
        yield engine


@pytest.fixture
def first(engine: Engine) -> BuildResult:
    return engine.build(FILE)


def done(result: BuildResult) -> int:
    """Return how many steps were carried out; the others were in the cache."""
    assert result.cached_steps + result.executed_steps == STEPS
    return result.executed_steps


def test_1_an_identical_build_is_cached_and_the_same(engine: Engine, first: BuildResult) -> None:
    assert done(first) == STEPS
    again = engine.build(FILE)
    assert (done(again), again.image_id) == (0, first.image_id)


def touch(engine: Engine) -> None:
    os.utime(engine.context / "src/a", (1, 1))
    os.utime(engine.context / "src", (2, 2))


def make_executable(engine: Engine) -> None:
    (engine.context / "src/a").chmod(0o755)


def edit_ignored(engine: Engine) -> None:
    (engine.context / "notes").write_text("other")


def edit_source(engine: Engine) -> None:
    (engine.context / "src/b").write_text("other")


def edit_lock(engine: Engine) -> None:
    (engine.context / "lock").write_text("other")


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        pytest.param(touch, 0, id="2-touch"),
        pytest.param(make_executable, 2, id="3-chmod"),
        pytest.param(edit_ignored, 0, id="4-ignored"),
        pytest.param(edit_source, 2, id="5-source"),
        pytest.param(edit_lock, 4, id="5-lock"),
    ],
)
@pytest.mark.usefixtures("first")
def test_2_to_5_what_a_changed_file_means(
    engine: Engine, change: Callable[[Engine], None], steps: int
) -> None:
    change(engine)
    assert done(engine.build(FILE)) == steps


@pytest.mark.usefixtures("first")
def test_6_another_command_misses_from_there(engine: Engine) -> None:
    assert done(engine.build(FILE.replace("/dep $V", "/dep2 $V"))) == 3
    assert done(engine.build(FILE.replace("/app built", "/app more"))) == 1


@pytest.mark.usefixtures("first")
def test_7_an_argument_misses_from_the_first_run_after_it(engine: Engine) -> None:
    assert done(engine.build(FILE, build_args={"V": "2"})) == 3
    proxies = {"HTTPS_PROXY": "http://p", "no_proxy": "x"}
    assert done(engine.build(FILE, build_args=proxies)) == 0


def test_8_a_command_is_not_run_again_by_itself(engine: Engine, first: BuildResult) -> None:
    assert len(engine.runner.specs) == 2
    assert engine.build(FILE).image_id == first.image_id
    assert len(engine.runner.specs) == 2


@pytest.mark.usefixtures("first")
def test_9_an_unused_stage_changes_nothing(engine: Engine) -> None:
    assert done(engine.build(FILE.replace("/never here", "/never there"))) == 0


def test_10_old_content_is_found_again(engine: Engine, first: BuildResult) -> None:
    edit_source(engine)
    assert done(engine.build(FILE)) == 2
    (engine.context / "src/b").write_text("src/b")
    again = engine.build(FILE)
    assert (done(again), again.image_id) == (0, first.image_id)


@pytest.mark.usefixtures("first")
def test_11_no_cache_pull_and_target(engine: Engine) -> None:
    assert done(engine.build(FILE, no_cache=True)) == STEPS
    engine.build("FROM scratch\nCOPY lock /\n", tags=("base",))
    engine.build("FROM base\n", pull=True)
    assert engine.resolver.pulls == [True]
    target = engine.build(FILE, target="unused")
    assert (target.cached_steps, target.executed_steps) == (0, 1)


@pytest.mark.usefixtures("first")
def test_12_forgetting_the_cache_empties_it(engine: Engine) -> None:
    records = engine.builder.cache.records()
    assert len(records) == STEPS
    engine.builder.cache.forget(*(record.key for record in records), now_ns=1)
    assert engine.builder.cache.records() == []
    assert done(engine.build(FILE)) == STEPS


def test_13_a_failing_step_leaves_those_before_it(engine: Engine) -> None:
    with pytest.raises(StepFailedError):
        engine.build(FILE.replace("write /app built", "fail 1 no"))
    assert done(engine.build(FILE)) == 1


def test_14_a_cache_mount_survives(engine: Engine) -> None:
    file = "FROM scratch\nARG V\nRUN --mount=type=cache,id=c,target=/c write /f $V\n"
    engine.build(file, build_args={"V": "1"})
    (mount,) = engine.runner.specs[-1].mounts
    (Path(mount.source) / "kept").write_text("x")
    engine.build(file, build_args={"V": "2"})
    (again,) = engine.runner.specs[-1].mounts
    assert (Path(again.source) / "kept").read_text() == "x"


def test_15_the_value_of_a_secret_does_not_matter(engine: Engine) -> None:
    file = "FROM scratch\nRUN --mount=type=secret,id=s write /f x\n"
    first = engine.build(file, lent=Lent(secrets={"s": b"one"}))
    again = engine.build(file, lent=Lent(secrets={"s": b"two"}))
    assert (again.executed_steps, again.image_id) == (0, first.image_id)
