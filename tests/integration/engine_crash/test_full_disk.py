"""A data root without room: one line each time, and an engine that goes on when there is some."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.linux.mount import MNT_DETACH, mount, umount
from tests.engine import BUSYBOX, Engine, busybox_context
from tests.integration.engine_crash.truth import assert_true

pytestmark = pytest.mark.integration

_SIZE = "40m"


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
            engine.stop()
            umount(str(data), MNT_DETACH)


def fill(engine: Engine) -> Path:
    """Take all room that is left."""
    path = engine.root / "data" / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


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
