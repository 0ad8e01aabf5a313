"""``kedge build --debug-shell``: a person looks around where a step failed."""

import contextlib
import os
import sys
from pathlib import Path

import pytest

from kedge.errdefs import NotFoundError
from tests.engine import Engine
from tests.processes import is_running
from tests.terminal import Terminal

pytestmark = pytest.mark.integration

_KEDGE = [sys.executable, "-c", "from kedge.cli.main import main; main()"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    path.mkdir()
    return path


def build(engine: Engine, folder: Path, *words: str) -> Terminal:
    command = [*_KEDGE, "-H", engine.host, "build", "--debug-shell", *words, str(folder)]
    return Terminal(command, {"DOCKER_CONFIG": str(engine.root / "docker")})


def left(engine: Engine) -> list[str]:
    """Return layers that are being made, and files that steps were shown."""
    scratch = engine.root / "data"
    return [
        str(path)
        for path in scratch.rglob("*")
        if "being-made" in path.name or path.parent.name in {"scratch", "build-secrets"}
    ]


def test_a_person_looks_around_where_a_step_failed(shared_engine: Engine, folder: Path) -> None:
    (folder / "Dockerfile").write_text(
        "FROM busybox\nENV SEEN=by-the-step\nWORKDIR /work\nRUN chown web /work\nUSER web\n"
        "RUN --mount=type=secret,id=word echo begun > half; echo printed; cat /no/such/file\n"
    )
    (folder / "word").write_text("lent")
    before = left(shared_engine)
    secret = f"id=word,src={folder / 'word'}"
    with build(shared_engine, folder, "--secret", secret, "-t", "bx-never") as terminal:
        terminal.expect("printed")
        terminal.expect("returned a non-zero code: 1")
        terminal.expect("exit ends the build")
        terminal.expect("$ ")
        terminal.type("cat half; id -un; pwd; echo $SEEN; stty size; ls -l /run/secrets\n")
        for text in ("begun", "web", "/work", "by-the-step", "33 101", "word"):
            terminal.expect(text)
        terminal.type("exit 3\n")
        terminal.expect("Dockerfile:6")
        terminal.expect("kedge: build failed: The command")
        assert terminal.wait() == 1
    assert left(shared_engine) == before
    assert shared_engine.docker("image", "inspect", "bx-never", check=False).returncode == 1
    # What came before the step is kept, what the shell saw of it is not.
    again = shared_engine.kedge("build", str(folder), check=False)
    assert "Using cache" in again.stdout
    assert again.returncode == 1


def test_the_host_lends_a_shell_where_there_is_none(shared_engine: Engine, folder: Path) -> None:
    (folder / "Dockerfile").write_text(
        "FROM busybox AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /false\n"
        'COPY Dockerfile /here\nRUN ["/false"]\n'
    )
    with build(shared_engine, folder) as terminal:
        terminal.expect("Here is busybox")
        terminal.expect("# ")
        terminal.type("ls /; wc -l /here; exit\n")
        terminal.expect("here")
        terminal.expect("5 /here")
        terminal.expect("build failed")
        assert terminal.wait() == 1


def test_where_a_copy_should_have_gone(shared_engine: Engine, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM busybox\nWORKDIR /made\nCOPY nothing /\n")
    with build(shared_engine, folder) as terminal:
        terminal.expect("nothing")
        terminal.expect("/made # ")
        terminal.type("exit\n")
        terminal.expect("build failed")
        assert terminal.wait() == 1


def test_a_person_who_hangs_up_leaves_nothing(shared_engine: Engine, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM busybox\nRUN false\n")
    before = left(shared_engine)
    with build(shared_engine, folder) as terminal:
        terminal.expect("# ")
        terminal.type("sleep 4321\n")
        terminal.expect("sleep")
    # The engine ends the shell on its own; a next build waits for nothing of it.
    done = shared_engine.kedge("build", str(folder), check=False)
    assert "non-zero code: 1" in done.stderr
    while left(shared_engine) != before or is_running("sleep", "4321"):
        os.sched_yield()


def test_a_step_that_succeeds_opens_nothing(shared_engine: Engine, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM busybox\nRUN true\n")
    with build(shared_engine, folder) as terminal:
        terminal.expect("Successfully built")
        assert terminal.wait() == 0


def test_it_needs_a_terminal(shared_engine: Engine, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM busybox\nRUN false\n")
    done = shared_engine.kedge("build", "--debug-shell", str(folder), check=False)
    assert done.returncode == 125
    assert "--debug-shell needs a terminal" in done.stderr
    assert done.stdout == ""


def test_a_shell_that_nobody_offers(shared_engine: Engine) -> None:
    with contextlib.closing(shared_engine.client()) as client:
        with pytest.raises(NotFoundError, match="no such shell of a build: 4711"):
            client.request("POST", "/build/shells/4711/resize", {"h": "20", "w": "30"}).read()
        said = client.request("POST", "/build/shells/4711").read()
        assert said == b"no shell: no such shell of a build: 4711\r\n"
