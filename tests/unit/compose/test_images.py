"""Which images are pulled and built."""

import pytest

from kedge.compose.images import (
    ImageWishes,
    LocalImage,
    PullWishes,
    plan_builds,
    plan_images,
    plan_pulls,
    plan_pushes,
)
from kedge.compose.steps import BuildImage, PullImage, SkipImage
from kedge.errdefs import InvalidParameterError, NotFoundError
from tests.unit.compose.states import application, keys, step

_DAY_S = 86400.0


def _keys(service: str, *, here: bool, tagged_s: float = 0.0, **wishes: object) -> list[str]:
    app = application(f"services: {{s: {{{service}}}}}")
    local = {app.image("s"): LocalImage("sha256:i", tagged_s)} if here else {}
    wanted = ImageWishes(now_s=10 * _DAY_S)._replace(**wishes)  # type: ignore[arg-type]
    return keys(plan_images(app, ["s"], local, wanted))


@pytest.mark.parametrize(
    ("service", "absent", "present"),
    [
        ("image: i", ["pull:i"], []),
        ("image: i, pull_policy: always", ["pull:i"], ["pull:i"]),
        ("image: i, pull_policy: never", [], []),
        ("image: i, pull_policy: if_not_present", ["pull:i"], []),
        ("build: .", ["build:s"], []),
        ("build: ., image: i", ["build:s"], []),
        ("build: ., image: i, pull_policy: build", ["build:s"], ["build:s"]),
        ("build: ., image: i, pull_policy: always", ["pull:i"], ["pull:i"]),
        ("provider: {type: x}", [], []),
    ],
)
def test_policies(service: str, absent: list[str], present: list[str]) -> None:
    assert _keys(service, here=False) == absent
    assert _keys(service, here=True) == present


@pytest.mark.parametrize(
    ("policy", "age_s", "wanted"),
    [
        ("daily", 0.9 * _DAY_S, []),
        ("daily", 1.1 * _DAY_S, ["pull:i"]),
        ("weekly", 1.1 * _DAY_S, []),
        ("every_2d12h", 2.6 * _DAY_S, ["pull:i"]),
        ("every_2d12h", 2.4 * _DAY_S, []),
    ],
)
def test_an_image_is_looked_for_again_when_it_is_old(
    policy: str, age_s: float, wanted: list[str]
) -> None:
    found = _keys(f"image: i, pull_policy: {policy}", here=True, tagged_s=10 * _DAY_S - age_s)
    assert found == wanted


def test_flags_win_over_files() -> None:
    assert _keys("build: .", here=True, build=True) == ["build:s"]
    assert _keys("image: i, pull_policy: never", here=True, pull="always") == ["pull:i"]
    assert _keys("image: i, build: .", here=False, no_build=True) == ["pull:i"]
    with pytest.raises(NotFoundError, match="image app-s is not there, and --no-build forbids"):
        _keys("build: .", here=False, no_build=True)
    with pytest.raises(InvalidParameterError, match="unsupported pull_policy sometimes"):
        _keys("image: i, pull_policy: sometimes", here=True)


def test_one_image_of_several_services_is_pulled_once_and_a_hook_s_too() -> None:
    app = application(
        "services: {a: {image: i}, b: {image: i, pre_start: [{command: c, image: h}]}}"
    )
    assert keys(plan_images(app, ["a", "b"], {}, ImageWishes())) == ["pull:i", "pull:h"]


def test_a_build_stands_in_for_a_pull() -> None:
    app = application("services: {s: {image: i, build: ., pull_policy: always}}")
    pulled = step(plan_images(app, ["s"], {}, ImageWishes()), "pull:i")
    assert isinstance(pulled, PullImage)
    assert pulled.else_build


def test_builds_come_after_those_they_are_made_from() -> None:
    app = application("""
services:
  base: {build: .}
  a: {build: {context: ., dockerfile_inline: "FROM app-base\nRUN x"}}
  b: {build: {context: ., additional_contexts: {base: "service:base"}}}
""")
    plan = plan_builds(app, ["base", "a", "b"])
    for name in ("a", "b"):
        built = step(plan, f"build:{name}")
        assert isinstance(built, BuildImage)
        assert built.needs == ("build:base",)


def test_pull_and_push_say_what_they_leave_alone() -> None:
    app = application(
        "services: {a: {build: .}, b: {image: i}, c: {image: j, build: .}, d: {image: k}}"
    )
    names = list(app.services)
    plan = plan_pulls(
        app, names, {"k": LocalImage("x")}, PullWishes("missing", ignore_buildable=True)
    )
    assert {one.key: getattr(one, "reason", "") for one in plan.steps} == {
        "skip:app-a": "it is built", "pull:i": "", "skip:j": "it can be built",
        "skip:k": "it is here already",
    }  # fmt: skip
    plan = plan_pushes(app, names)
    assert keys(plan) == ["skip:app-a", "push:j"]
    assert isinstance(plan.steps[0], SkipImage)
