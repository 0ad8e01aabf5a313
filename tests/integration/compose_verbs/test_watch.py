"""``develop.watch``: files of this host in running services, a moment after they are written."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine import Engine
from tests.integration.compose_verbs.conftest import Project

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.integration

PROJECT = """
name: dev
services:
  web:
    build: .
    init: true
    develop:
      watch:
        - {path: ./src, action: sync, target: /src, ignore: ["*.log"], initial_sync: true}
        - {path: ./hooked, action: sync+exec, target: /hooked, exec: {command: touch /ran}}
        - {path: ./conf, action: sync+restart, target: /conf}
        - {path: ./Dockerfile, action: rebuild}
"""
DOCKERFILE = "FROM busybox\nRUN mkdir /src\nCMD sh -c 'echo begun; exec sleep 1000'\n"


@pytest.fixture
def project(shared_engine: Engine, tmp_path: Path) -> Iterator[Project]:
    made = Project(shared_engine, tmp_path)
    made.write(PROJECT)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    for folder in ("src", "hooked", "conf"):
        (tmp_path / folder).mkdir()
    (tmp_path / "src" / "old").write_text("old")
    yield made
    made.run("down", "-v", "--rmi", "local", "-t", "0")


def until(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stdout is not None
    assert any(text in line for line in process.stdout), process.communicate()


def cat(project: Project, path: str) -> str:
    return project.run("exec", "-T", "web", "cat", path).stdout


def container(project: Project) -> str:
    return project.run("ps", "-q", "web").stdout


def test_watch_syncs_restarts_runs_and_rebuilds(project: Project) -> None:
    watching = project.spawn("watch", "--quiet")
    until(watching, "Watch enabled")
    assert cat(project, "/src/old") == "old"
    folder = project.folder
    (folder / "src" / "new").mkdir()
    (folder / "src" / "new" / "page").write_text("new")
    (folder / "src" / "old").unlink()
    (folder / "src" / "a.log").write_text("not wanted")
    (folder / "hooked" / "file").write_text("x")
    # They are taken over one rule after the other.
    until(watching, "after 1 changes")
    (folder / "conf" / "file").write_text("y")
    until(watching, "service web restarted")
    assert project.run("exec", "-T", "web", "ls", "/src", "/hooked", "/ran").stdout.split() == [
        "/ran", "/hooked:", "file", "/src:", "new"
    ]  # fmt: skip
    assert cat(project, "/src/new/page") == "new"
    assert cat(project, "/conf/file") == "y"
    before = container(project)
    (folder / "Dockerfile").write_text(DOCKERFILE + "BROKEN\n")
    until(watching, "service web: it could not be rebuilt; it runs as it was")
    assert container(project) == before
    (folder / "Dockerfile").write_text(DOCKERFILE + "LABEL a=b\n")
    until(watching, "service web successfully built")
    assert container(project) != before
    # --prune is on: the image before has gone.
    mine = ("label=com.docker.compose.project=mine", "dangling=true")
    filters = [word for one in mine for word in ("--filter", one)]
    assert project.engine.kedge("images", "-q", *filters).stdout == ""
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=60)
    assert watching.returncode == 130


def test_up_watches_beside_the_output(project: Project) -> None:
    running = project.spawn("up", "--watch", "--build", "-t", "0")
    until(running, "⦿ Watch enabled")
    (project.folder / "Dockerfile").write_text(DOCKERFILE.replace("begun", "anew"))
    until(running, "web-1  | anew")
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr


def test_nothing_to_watch_is_said(project: Project) -> None:
    project.write("name: dev\nservices: {web: {image: busybox}}\n")
    assert "none of the selected services is configured for watch" in (
        project.run("watch", code=1).stderr
    )
    project.write(
        "name: dev\nservices: {web: {image: busybox, "
        "develop: {watch: [{path: ., action: rebuild}]}}}\n"
    )
    assert "service web: cannot rebuild it" in project.run("watch", code=1).stderr
