"""Verbs about a project's images and its file: build, push, pull, config, version."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge import __version__
from tests.engine import Engine
from tests.integration.compose_verbs.conftest import Project
from tests.kedgeregistry import Client, KedgeRegistry

pytestmark = pytest.mark.integration

FILE = """
name: made
services:
  app:
    build: {context: ., args: {WORD: first}}
    image: HOST/made/app:1
    command: cat /word
  idle: {image: busybox, command: sleep 1000, pull_policy: never}
"""
DOCKERFILE = "FROM busybox\nARG WORD\nRUN echo $WORD >/word\n"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[KedgeRegistry]:
    made = KedgeRegistry(tmp_path / "registry")
    made.start()
    yield made
    made.close()


@pytest.fixture
def built(shared_engine: Engine, tmp_path: Path, registry: KedgeRegistry) -> Iterator[Project]:
    """A project whose image is not built yet."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    made = Project(shared_engine, folder)
    made.write(FILE.replace("HOST", registry.host))
    yield made
    made.run("down", "-v", "-t", "0")
    shared_engine.docker("rmi", "-f", f"{registry.host}/made/app:1", check=False)


def test_an_image_is_built_pushed_and_pulled(built: Project, registry: KedgeRegistry) -> None:
    name = f"{registry.host}/made/app:1"
    built.run("build", "--build-arg", "WORD=other", "app")
    image_id = built.engine.docker("inspect", "-f", "{{.Id}}", name).stdout
    built.run("push", "app")
    client = Client(registry.host)
    assert client.ask("GET", "/v2/made/app/manifests/1").status == 200
    client.close()
    built.engine.docker("rmi", name)
    built.run("pull", "app")
    assert built.engine.docker("inspect", "-f", "{{.Id}}", name).stdout == image_id
    assert built.run("run", "--rm", "--no-deps", "app").stdout == "other\n"


def test_what_cannot_be_built_pushed_or_pulled_is_named(
    built: Project, registry: KedgeRegistry
) -> None:
    name = f"{registry.host}/made/app:1"
    absent = built.run("pull", "app", code=1)
    assert f"{name}" in absent.stderr
    unbuilt = built.run("push", "app", code=1)
    assert "does not exist locally" in unbuilt.stderr
    (built.folder / "Dockerfile").write_text("FROM busybox\nRUN echo well; exit 7\n")
    failed = built.run("build", code=1)
    assert "exit 7" in failed.stderr + failed.stdout
    assert "app" in failed.stderr


def test_the_model_is_printed_in_every_form(built: Project, registry: KedgeRegistry) -> None:
    name = f"{registry.host}/made/app:1"
    model = json.loads(built.run("config", "--format", "json").stdout)
    assert model["name"] == "made"
    assert model["services"]["app"]["image"] == name
    assert model["services"]["app"]["build"]["args"] == {"WORD": "first"}
    assert f"image: {name}" in built.run("config").stdout.replace("'", "").replace('"', "")
    assert built.run("config", "--services").stdout.split() == ["app", "idle"]
    assert set(built.run("config", "--images").stdout.split()) == {name, "busybox"}
    assert built.run("config", "-q").stdout == ""
    assert list(json.loads(built.run("config", "--format", "json", "idle").stdout)["services"]) == [
        "idle"
    ]


def test_the_version(built: Project) -> None:
    assert __version__ in built.run("version").stdout
    assert built.run("version", "--short").stdout == f"{__version__}\n"
