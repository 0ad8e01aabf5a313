"""``--build-context`` and URLs through the command and the API, as a user gives them."""

import contextlib
import tarfile
from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError
from tests.engine import Engine

pytestmark = pytest.mark.integration


def build(engine: Engine, folder: Path, dockerfile: str, *flags: str) -> str:
    (folder / "Dockerfile").write_text(dockerfile)
    return engine.kedge("build", "--progress", "plain", *flags, str(folder)).stdout


def test_folders_and_images_by_name(shared_engine: Engine, tmp_path: Path) -> None:
    for name, text in (("context", "own"), ("one", "first"), ("two", "second")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(text)
        (tmp_path / name / "ignored").write_text(text)
    (tmp_path / "two/.dockerignore").write_text("ignored\n")
    (tmp_path / "one/tool").symlink_to("a.txt")
    said = build(
        shared_engine,
        tmp_path / "context",
        "FROM base\nCOPY . /own\nCOPY --from=one . /one\n"
        "RUN --mount=from=two,target=/two cat /own/a.txt /one/tool /two/a.txt; ls -A /own /two\n",
        f"--build-context=one={tmp_path / 'one'}",
        f"--build-context=two={tmp_path / 'two'}",
        "--build-context=base=docker-image://busybox",
    )
    assert (
        "ownfirstsecond/own:\nDockerfile\na.txt\nignored\n\n/two:\n.dockerignore\na.txt\n" in said
    )


def test_an_oci_layout_is_a_base_without_a_name(shared_engine: Engine, tmp_path: Path) -> None:
    archive, layout, context = tmp_path / "b.tar", tmp_path / "layout", tmp_path / "context"
    shared_engine.docker("save", "-o", str(archive), "busybox")
    context.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(layout, filter="data")
    said = build(
        shared_engine,
        context,
        "FROM lay\nRUN echo inside\n",
        f"--build-context=lay=oci-layout://{layout}",
    )
    assert "inside\n" in said


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--build-context=x", "."], "invalid --build-context x: want NAME=PATH"),
        (["--build-context=x=/nosuch", "."], "no such build context: /nosuch"),
        (["http://127.0.0.1:1/x.tar"], "cannot reach server 127.0.0.1:1: connection refused"),
        (["http://127.0.0.1:1/x.git"], "git ls-remote http://127.0.0.1:1/x.git: unable to access"),
        (["-f", "-", "http://127.0.0.1:1/x.tar"], "a URL has its own Dockerfile"),
    ],
)
def test_what_cannot_be_a_context(shared_engine: Engine, words: list[str], text: str) -> None:
    done = shared_engine.kedge("build", *words, check=False)
    assert done.returncode != 0
    assert text in done.stderr.splitlines()[0]


def test_a_remote_that_is_no_url_is_refused(shared_engine: Engine) -> None:
    with (
        contextlib.closing(shared_engine.client()) as client,
        pytest.raises(InvalidParameterError, match="is no URL"),
    ):
        client.post("/build", {"remote": "folder"}).read()
