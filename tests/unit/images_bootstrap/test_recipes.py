"""Names of recipes."""

import pytest

from kedge.errdefs import InvalidParameterError
from kedge.images.bootstrap.recipes import RECIPES, find_recipe


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("debian:bookworm-slim", "docker.io/library/debian:bookworm-slim"),
        ("docker.io/library/python:3.11-slim", "docker.io/library/python:3.11-slim"),
        ("busybox", "docker.io/library/busybox:latest"),
        ("debian:12-slim", "docker.io/library/debian:12-slim"),
    ],
)
def test_found(name: str, full: str) -> None:
    recipe, reference = find_recipe(name)
    assert reference.canonical() == full
    assert reference.familiar() in recipe.names


@pytest.mark.parametrize("name", ["alpine", "debian", "localhost:5000/busybox", "python:3.12-slim"])
def test_unknown_lists_the_recipes(name: str) -> None:
    with pytest.raises(
        InvalidParameterError,
        match=f"no recipe for {name}: kedge can make debian:bookworm-slim, .*, redis:7, busybox",
    ):
        find_recipe(name)


def test_no_name_twice() -> None:
    names = [name for recipe in RECIPES for name in recipe.names]
    assert len(names) == len(set(names))


def test_path_comes_first() -> None:
    assert all(recipe.config.env[0].startswith("PATH=") for recipe in RECIPES)
