import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.errdefs import NotFoundError
from kedge.lib.database import Database
from kedge.snapshots.snapshotter import SnapshotKind, Usage
from kedge.snapshots.store import Record, SnapshotStore


class FixedClock:
    """A clock that stands still."""

    def time_ns(self) -> int:
        return 42

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(str(tmp_path / "kedge.db"))
    yield database
    database.close()


def nothing(_record: Record) -> None:
    pass


def open_store(tmp_path: Path, database: Database, boot: str = "boot-1") -> SnapshotStore:
    root = str(tmp_path / "root")
    return SnapshotStore(root, database, driver="test", clock=FixedClock(), boot=boot)


def commit(store: SnapshotStore, name: str, parent: str | None = None) -> None:
    record = store.create(f"{name}-new", SnapshotKind.ACTIVE, parent, make=nothing)
    store.commit(name, record, Usage(1, 1))


def test_creation_time_is_the_clocks(tmp_path: Path, database: Database) -> None:
    store = open_store(tmp_path, database)
    store.create("a", SnapshotKind.ACTIVE, None, make=nothing)
    assert store.get("a").info.created_ns == 42


def test_layers_of_an_earlier_boot_that_were_never_flushed_are_dropped(
    tmp_path: Path, database: Database
) -> None:
    store = open_store(tmp_path, database)
    commit(store, "flushed")
    store.sync()
    commit(store, "unflushed", "flushed")
    commit(store, "above", "unflushed")
    same_boot = open_store(tmp_path, database)
    assert same_boot.recovered == ()
    next_boot = open_store(tmp_path, database, boot="boot-2")
    assert next_boot.recovered == ("unflushed", "above")
    assert [record.name for record in next_boot.walk()] == ["flushed"]
    assert next_boot.purge() == 2


def test_nobody_sees_a_snapshot_that_is_still_filled(tmp_path: Path, database: Database) -> None:
    store = open_store(tmp_path, database)

    def look(_record: Record) -> None:
        assert store.try_get("slow") is None
        assert store.walk() == []

    store.create("slow", SnapshotKind.ACTIVE, None, make=nothing, fill=look)
    assert store.get("slow").name == "slow"


def test_a_filling_that_fails_leaves_nothing(tmp_path: Path, database: Database) -> None:
    store = open_store(tmp_path, database)

    def fail(_record: Record) -> None:
        raise NotFoundError("gone")

    for options in ({"make": fail}, {"make": nothing, "fill": fail}):
        with pytest.raises(NotFoundError, match="gone"):
            store.create("a", SnapshotKind.ACTIVE, None, **options)
    store.purge()
    assert os.listdir(tmp_path / "root") == ["trash"]
    assert database.query("SELECT * FROM snapshots") == []


def test_a_crash_while_filling_is_cleared_at_open(tmp_path: Path, database: Database) -> None:
    store = open_store(tmp_path, database)
    record = store.create("a", SnapshotKind.ACTIVE, None, make=nothing)
    database.execute("UPDATE snapshots SET is_ready = 0 WHERE id = ?", (record.number,))
    again = open_store(tmp_path, database)
    again.create("a", SnapshotKind.ACTIVE, None, make=nothing)
    assert again.purge() == 1


def test_a_transaction_around_it_may_be_rolled_back(tmp_path: Path, database: Database) -> None:
    store = open_store(tmp_path, database)

    def create_a_container() -> None:
        with database.transaction():
            store.create("a", SnapshotKind.ACTIVE, None, make=nothing)
            raise NotFoundError("the container's record failed")

    with pytest.raises(NotFoundError):
        create_a_container()
    store.create("b", SnapshotKind.ACTIVE, None, make=nothing)
    assert [record.name for record in store.walk()] == ["b"]


def test_drivers_share_a_database(tmp_path: Path, database: Database) -> None:
    store = open_store(tmp_path, database)
    store.create("a", SnapshotKind.ACTIVE, None, make=nothing)
    other = SnapshotStore(str(tmp_path / "other"), database, driver="other", boot="boot-1")
    assert other.try_get("a") is None
    other.create("a", SnapshotKind.ACTIVE, None, make=nothing)
    assert other.get("a").number != store.get("a").number


def test_nobody_else_may_look_in(tmp_path: Path, database: Database) -> None:
    open_store(tmp_path, database)
    assert os.stat(tmp_path / "root").st_mode & 0o777 == 0o700
