"""A data root without room: one line each time, and an engine that goes on when there is some."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.linux.mount import MNT_DETACH, mount, umount
from tests.engine import BUSYBOX, Engine, busybox_context
from tests.integration.engine_crash.truth import assert_true, state, until

pytestmark = pytest.mark.integration

_SIZE = "40m"
_FULL = "no space left on device"
_GAP = rf"kedge: \d+ bytes of output are missing here: {_FULL}"


@pytest.fixture
def small_engine() -> Iterator[Engine]:
    """An engine whose data root is a file system of 40 MB with the image ``busybox``."""
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    with tempfile.TemporaryDirectory(prefix="f-") as root:
        data = Path(root, "data")
        data.mkdir()
        mount("tmpfs", str(data), "tmpfs", 0, f"size={_SIZE}")
        engine = Engine(Path(root))
        engine.start()
        try:
            engine.build_tar(busybox_context(), "busybox")
            yield engine
        finally:
            make_room(engine)
            engine.stop()
            umount(str(data), MNT_DETACH)


def fill(engine: Engine) -> Path:
    """Take all room that is left; again does so again."""
    number = len(list((engine.root / "data").glob("filler*")))
    path = engine.root / "data" / f"filler{number}"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


def make_room(engine: Engine) -> None:
    for path in (engine.root / "data").glob("filler*"):
        path.unlink()


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and "--help" not in line]
    return lines[-1]


def test_a_build_that_does_not_fit(small_engine: Engine) -> None:
    text = "FROM busybox\nRUN echo kept > /kept\nRUN head -c 60m /dev/zero > /big\n"
    done = small_engine.docker("build", "-t", "app", "-", text=text, check=False)
    assert done.returncode == 1
    assert "returned a non-zero code: 1" in last_line(done.stderr)
    assert_true(small_engine)
    again = small_engine.docker("build", "-t", "app", "-", text=text.replace("60m", "60k"))
    assert "Using cache" in again.stdout


def test_a_context_that_does_not_fit(small_engine: Engine) -> None:
    context = small_engine.root / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nCOPY big /big\n")
    with (context / "big").open("wb") as file:
        for _ in range(60):
            file.write(os.urandom(1 << 20))
    done = small_engine.docker("build", str(context), check=False)
    assert done.returncode == 1
    assert "no space left on device" in last_line(done.stderr)
    assert_true(small_engine)
    small_engine.docker("run", "--rm", "busybox", "true")


def test_a_layer_that_does_not_fit(small_engine: Engine) -> None:
    text = "FROM busybox\nRUN head -c 20m /dev/urandom > /big\n"
    done = small_engine.docker("build", "-", text=text, check=False)
    assert done.returncode == 1
    assert "no space left on device" in last_line(done.stderr)
    assert_true(small_engine)


def test_running_without_any_room(small_engine: Engine) -> None:
    engine = small_engine
    engine.docker("run", "-d", "--name", "old", "busybox", "sleep", "600")
    filler = fill(engine)
    done = engine.docker("run", "--rm", "--name", "new", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "no space left on device" in last_line(done.stderr)
    engine.docker("exec", "old", "true")
    engine.docker("kill", "old")
    assert engine.docker("wait", "old").stdout == "137\n"
    filler.unlink()
    engine.docker("run", "--rm", "--name", "new", "busybox", "true")
    assert engine.docker("ps", "-a", "--format", "{{.Names}} {{.State}}").stdout == "old exited\n"
    assert_true(engine)
    engine.docker("start", "old")
    engine.kill()
    engine.start()
    assert_true(engine)


def test_an_engine_that_starts_without_any_room(small_engine: Engine) -> None:
    small_engine.docker("run", "-d", "--name", "old", "busybox", "sleep", "600")
    small_engine.kill()
    filler = fill(small_engine)
    small_engine.start()
    assert small_engine.docker("exec", "old", "echo", "yes").stdout == "yes\n"
    filler.unlink()
    assert_true(small_engine)


def test_what_cannot_be_written_down_does_not_happen(small_engine: Engine) -> None:
    engine = small_engine
    engine.docker("run", "-d", "--name", "box", "--memory", "64m", "busybox", "sleep", "600")
    engine.docker("create", "--name", "idle", "busybox")
    before = facts(engine)
    filler = fill(engine)
    for words in (
        ("rename", "box", "other"),
        ("tag", "busybox", "copy"),
        ("volume", "create", "things"),
        ("network", "create", "shop"),
        ("update", "--memory", "32m", "--memory-swap", "32m", "box"),
        ("create", "--name", "new", "busybox"),
        ("cp", str(filler), "box:/there"),
        ("commit", "box", "copy"),
    ):
        done = engine.kedge(*words, check=False)
        assert done.returncode, words
        assert "no space left on device" in done.stderr
        assert done.stderr.count("\n") == 1
    engine.docker("exec", "box", "true")
    # A removal may fit in or not; what has not been removed can be, later on.
    for _ in range(2):
        removal = engine.kedge("rm", "-f", "idle", check=False)
        assert not removal.stderr or "no space left on device" in removal.stderr
    engine.kill()
    engine.start()
    assert facts(engine) == before
    make_room(engine)
    engine.docker("rm", "-f", "idle")
    engine.kill()
    engine.start()
    assert facts(engine) == before
    assert not engine.get("/info")["Warnings"]
    engine.docker("rename", "box", "other")
    assert_true(engine)


def facts(engine: Engine) -> list[str]:
    """Return what the engine has on record, as people see it."""
    return [
        engine.docker(
            "ps", "-a", "--filter", "name=box", "--format", "{{.ID}} {{.Names}} {{.State}}"
        ).stdout,
        engine.docker("inspect", "-f", "{{.HostConfig.Memory}} {{.State.Pid}}", "box").stdout,
        engine.docker("images", "--format", "{{.ID}} {{.Repository}}").stdout,
        engine.docker("volume", "ls", "-q").stdout,
        engine.docker("network", "ls", "-q").stdout,
    ]


def test_a_log_without_room_leaves_lines_out_and_goes_on(small_engine: Engine) -> None:
    engine = small_engine
    script = "i=0; while :; do i=$((i+1)); echo line $i; echo $i > /dev/shm/at; sleep 0.01; done"
    engine.docker("run", "-d", "--name", "talk", "busybox", "sh", "-c", script)
    pid = state(engine, "talk")["Pid"]
    until(lambda: lines(engine), "it talks")
    fill(engine)
    full_at = lines(engine)[-1]
    until(lambda: at(engine) > full_at + 100, "it goes on")
    assert state(engine, "talk")["Pid"] == pid
    make_room(engine)
    free_at = at(engine)
    until(lambda: lines(engine)[-1] > free_at + 20, "there is room again")
    found = lines(engine)
    # What is there is whole and in order, and from some line on all of it.
    assert found == sorted(set(found))
    last = found[-1]
    assert found[-20:] == list(range(last - 19, last + 1))
    assert full_at in found
    # The gap is said where it is, and to the administrator.
    gaps = [x for x in engine.docker("logs", "talk").stderr.splitlines() if "missing here" in x]
    assert gaps
    assert all(re.fullmatch(_GAP, line) for line in gaps), gaps
    warnings = [x for x in engine.log.read_text().splitlines() if "container talk" in x]
    assert warnings[0] == "warning: container talk: its output is not kept: " + _FULL
    assert re.fullmatch(
        f"warning: container talk: \\d+ bytes of its output were not kept: {_FULL}", warnings[1]
    )
    engine.docker("rm", "-f", "talk")
    assert_true(engine)


def lines(engine: Engine) -> list[int]:
    """Return the numbers in the log."""
    return [int(line.split()[1]) for line in engine.docker("logs", "talk").stdout.splitlines()]


def at(engine: Engine) -> int:
    """Return how far the container has counted."""
    return int(engine.docker("exec", "talk", "cat", "/dev/shm/at").stdout or 0)
