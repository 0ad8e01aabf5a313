"""A metadata store that somebody or some disk has destroyed: what the engine finds and keeps."""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine import Engine
from tests.integration.engine_crash.truth import (
    assert_true,
    container_id,
    listed,
    state,
    until,
)

pytestmark = pytest.mark.integration

_PAGE = 4096


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:_PAGE])


def scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[_PAGE : 4 * _PAGE] = b"\x55" * (3 * _PAGE)
    path.write_bytes(data)


@pytest.fixture
def full(engine: Engine) -> Engine:
    """Run an engine with a running and a stopped container and a named volume."""
    run = ("run", "-d", "-v", "things:/things", "--name")
    engine.docker(*run, "runs", "busybox", "sh", "-c", "echo kept > /things/x; exec sleep 600")
    engine.docker("run", "--name", "ended", "busybox", "sh", "-c", "echo said; echo mine > /mine")
    return engine


def store(engine: Engine) -> Path:
    return engine.root / "data" / "metadata.db"


def assert_all_there(engine: Engine, pid: object) -> None:
    assert listed(engine) == {
        container_id(engine, "runs"): "running",
        container_id(engine, "ended"): "exited",
    }
    assert state(engine, "runs")["Pid"] == pid
    assert engine.docker("exec", "runs", "cat", "/things/x").stdout == "kept\n"
    assert engine.docker("logs", "ended").stdout == "said\n"
    assert "busybox" in engine.docker("images").stdout
    assert engine.docker("volume", "ls", "-q").stdout == "things\n"
    assert engine.docker("cp", "ended:/mine", "-").stdout.count("mine\n") == 1
    assert engine.docker("run", "--rm", "busybox", "echo", "goes on").stdout == "goes on\n"


@pytest.mark.parametrize("spoil", [empty, remove, truncate, scribble])
def test_everything_is_there_after_a_repair(full: Engine, spoil: Callable[[Path], None]) -> None:
    pid = state(full, "runs")["Pid"]
    full.kill()
    # What is in the log beside the store would cover the damage.
    with contextlib.closing(sqlite3.connect(store(full))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(store(full))
    full.start()
    assert_all_there(full, pid)
    warnings = full.get("/info")["Warnings"]
    assert isinstance(warnings, list)
    (line,) = [text for text in warnings if "metadata store" in str(text)]
    assert "repaired from its second copy" in str(line)
    assert str(line) in full.log.read_text()
    # The same again at the next start, which is one without a repair.
    full.kill()
    full.start()
    assert_all_there(full, pid)
    assert_true(full)


def refused(engine: Engine) -> str:
    """Return what an engine says that does not start."""
    before = engine.log.stat().st_size
    with pytest.raises(AssertionError):
        engine.start()
    return engine.log.read_bytes()[before:].decode()


def names(folder: Path) -> set[str]:
    return {str(item.relative_to(folder)) for item in folder.rglob("*")}


def test_without_a_copy_it_is_refused_and_the_way_out_works(full: Engine) -> None:
    data = store(full).parent
    full.kill()
    for item in data.glob("metadata.*"):
        item.unlink()
    before = names(data)
    text = refused(full)
    assert text.startswith(f"kedged: metadata store {store(full)} is gone and there is no sound ")
    assert text.count("\n") == 1
    assert names(data) == before
    # As the line says: all but the volumes away.
    aside = full.root / "aside"
    aside.mkdir()
    for item in data.iterdir():
        if item.name != "volumes":
            shutil.move(item, aside / item.name)
    full.start()
    assert listed(full) == {}
    assert (data / "volumes" / "things" / "_data" / "x").read_text() == "kept\n"
    assert full.docker("volume", "ls", "-q").stdout == "things\n"


def test_a_container_the_copy_does_not_know_is_left_alone(engine: Engine) -> None:
    data = store(engine).parent
    old = {item: item.read_bytes() for item in [*data.glob("metadata.[bj]*")]}
    engine.docker("run", "-d", "--name", "late", "busybox", "sh", "-c", "echo > /x; sleep 600")
    key, pid = container_id(engine, "late"), state(engine, "late")["Pid"]
    found = ("exec", "late", "ls", "/x")
    until(lambda: not engine.docker(*found, check=False).returncode, "the container's file")
    engine.kill()
    for item, content in old.items():
        item.write_bytes(content)
    empty(store(engine))
    engine.start()
    assert f"container {key} is not in the repaired metadata store" in engine.log.read_text()
    assert listed(engine) == {}
    assert Path(f"/proc/{pid}").exists()
    assert (data / "containers" / key).is_dir()
    (kept,) = (data / "lost+found").iterdir()
    assert [path.name for path in kept.rglob("x")] == ["x"]
    # New ones do not get in its way, and a start without a repair leaves it alone, too.
    assert engine.docker("run", "--rm", "busybox", "echo", "new").stdout == "new\n"
    engine.kill()
    engine.start()
    assert Path(f"/proc/{pid}").exists()
    # Once the administrator has cleared the folder away, it is a stray like any other.
    shutil.rmtree(data / "lost+found")
    engine.kill()
    engine.start()
    assert not Path(f"/proc/{pid}").exists()
    assert not (data / "containers" / key).exists()
    assert_true(engine)


def test_killed_in_the_middle_of_a_copy(full: Engine) -> None:
    pid = state(full, "runs")["Pid"]
    full.kill()
    for name in ("backup.tmp", "backup.tmp-wal"):
        (store(full).parent / f"metadata.{name}").write_bytes(b"half of it" * 900)
    full.start()
    full.kill()
    empty(store(full))
    full.start()
    assert_all_there(full, pid)
