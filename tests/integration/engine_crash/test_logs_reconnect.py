"""``kedge logs -f`` over the end of its engine: each byte once and in order."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.engine import Engine
from tests.integration.engine_crash.truth import until

pytestmark = pytest.mark.integration

_COUNT = 400
_TALKS = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.01; done"
_EXPECTED = {
    stream: "".join(f"{stream} {number}\n" for number in range(1, _COUNT + 1))
    for stream in ("out", "err")
}


class Follower:
    """A ``kedge logs -f`` whose output goes to two files."""

    def __init__(self, engine: Engine, folder: Path, *words: str, compose: bool = False) -> None:
        self._files = [folder / "out", folder / "err"]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-c", "from kedge.cli.main import main; main()",
                    *(["compose"] if compose else []), "logs", "-f", *words,
                ],
                cwd=folder, env={**os.environ, "KEDGE_HOST": engine.host},
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip

    @property
    def out(self) -> str:
        return self._files[0].read_bytes().decode()

    @property
    def err(self) -> str:
        return self._files[1].read_bytes().decode()


@contextlib.contextmanager
def following(
    engine: Engine, folder: Path, *words: str, compose: bool = False
) -> Generator[Follower]:
    follower = Follower(engine, folder, *words, compose=compose)
    try:
        yield follower
    finally:
        follower.process.kill()
        follower.process.wait()


def test_each_line_once_over_kills(engine: Engine, tmp_path: Path) -> None:
    engine.docker("run", "-d", "--name", "talk", "busybox", "sh", "-c", _TALKS)
    with following(engine, tmp_path, "talk") as follower:
        for number in (20, 120, 220):
            until(lambda number=number: f"out {number}\n" in follower.out, "it follows")  # type: ignore[misc]
            engine.kill()
            engine.start()
        assert follower.process.wait(timeout=60) == 0
    assert follower.out == _EXPECTED["out"]
    lines = follower.err.splitlines(keepends=True)
    said = [line for line in lines if line.startswith("kedge: ")]
    # A second kill may come before the first one was got over.
    assert set(said) == {
        f"kedge: the engine at {engine.host} is gone: waiting for it to come back\n"
    }
    assert "".join(line for line in lines if line not in said) == _EXPECTED["err"]


def test_lines_written_while_nobody_was_there(engine: Engine, tmp_path: Path) -> None:
    engine.restart_with("--live-restore=true")
    go = tmp_path / "go"
    go.mkdir()
    wait = "while [ ! -e /go/now ]; do sleep 0.02; done"
    long = "i=0; while [ $i -lt 40 ]; do printf %01000d $i; i=$((i+1)); done; echo"
    engine.docker(
        "run", "-d", "-t", "--name", "quiet", "-v", f"{go}:/go", "busybox",
        "sh", "-c", f"echo old; {wait}; echo new; {long}; echo end",
    )  # fmt: skip
    until(lambda: engine.docker("logs", "quiet").stdout, "it has begun")
    # Neither asks for what is in the log already, so no byte has told them where they are.
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        following(engine, tmp_path / "a", "--tail", "0", "quiet") as none,
        following(engine, tmp_path / "b", "quiet") as all_of_it,
    ):
        until(lambda: all_of_it.out == "old\r\n", "it follows")
        until(lambda: _readers(engine) == 2, "the other one does")
        assert engine.terminate() == 0
        (go / "now").touch()
        until(lambda: "gone" in none.err and "gone" in all_of_it.err, "they wait")
        engine.start()
        assert none.process.wait(timeout=60) == 0
        assert all_of_it.process.wait(timeout=60) == 0
    expected = "new\r\n" + "".join(f"{number:01000d}" for number in range(40)) + "\r\nend\r\n"
    assert none.out == expected
    assert all_of_it.out == "old\r\n" + expected


def test_a_project_s_logs_over_kills(engine: Engine, tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.mkdir()
    wait = "while [ ! -e /go/now ]; do sleep 0.02; done"
    service = f"{{image: busybox, volumes: ['{go}:/go'], command: [sh, -c, %s]}}"
    talk = "i=0; while [ $$i -lt 200 ]; do i=$$((i+1)); echo line $$i; sleep 0.02; done"
    (tmp_path / "compose.yaml").write_text(
        "name: talks\nservices:\n"
        + "".join(f"  {name}: {service % json.dumps(talk)}\n" for name in ("one", "two"))
        + f"  late: {service % json.dumps(f'{wait}; echo came late')}\n"
    )
    up = [sys.executable, "-c", "from kedge.cli.main import main; main()", "compose", "up", "-d"]
    environment = {**os.environ, "KEDGE_HOST": engine.host}
    subprocess.run([*up, "one", "two"], cwd=tmp_path, env=environment, check=True)
    said = f"kedge: the engine at {engine.host} is gone: waiting for it to come back\n"
    with following(engine, tmp_path, "--no-color", compose=True) as follower:
        for number in (10, 60):
            until(lambda number=number: f"line {number}\n" in follower.out, "it follows")  # type: ignore[misc]
            engine.kill()
            engine.start()
        # A container that is started after the engine came back joins in.
        subprocess.run([*up, "late"], cwd=tmp_path, env=environment, check=True)
        (go / "now").touch()
        assert follower.process.wait(timeout=120) == 0
    for name in ("one", "two"):
        lines = [
            line.split("| ")[1] for line in follower.out.splitlines() if line.startswith(f"{name}-")
        ]
        assert lines == [f"line {number}" for number in range(1, 201)], name
    assert "| came late\n" in follower.out
    assert set(follower.err.splitlines(keepends=True)) == {said}


def _readers(engine: Engine) -> int:
    """Return how many logs the engine has open."""
    count = 0
    for name in os.listdir(f"/proc/{engine.pid}/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/{engine.pid}/fd/{name}").endswith("-json.log")
    return count


def test_the_container_is_gone_when_the_engine_is_back(engine: Engine, tmp_path: Path) -> None:
    engine.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", "echo up; sleep 600")
    with following(engine, tmp_path, "box") as follower:
        until(lambda: follower.out == "up\n", "it follows")
        engine.docker("rm", "-f", "box")
        assert follower.process.wait(timeout=60) == 0
    assert follower.err == ""
