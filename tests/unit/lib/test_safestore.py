"""A metadata store that is damaged in every way, and what comes back."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.errdefs import DataLossError, SystemFailureError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.database import Value
from kedge.lib.safestore import SafeStore, has_lost_found

_SCHEMA = ("CREATE TABLE IF NOT EXISTS things (id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB)",)
_BEFORE, _AFTER = 400, 5


def open_store(folder: Path, *, is_in_use: bool = False) -> SafeStore:
    store = SafeStore(str(folder / "metadata.db"), clock=SYSTEM_CLOCK, is_in_use=is_in_use)
    store.database.ensure_schema(_SCHEMA)
    return store


def add(store: SafeStore, count: int = 1) -> None:
    for _ in range(count):
        store.database.execute("INSERT INTO things (data) VALUES (?)", (b"\xff" * 200,))


def count(store: SafeStore) -> Value:
    row = store.database.query_one("SELECT count(*) FROM things")
    assert row is not None
    return row[0]


def crash(store: SafeStore) -> None:
    """End as `kill -9` does, as far as a test in one process can: no last copy."""
    store.database.on_commit = None
    store.database.close()


def fill(folder: Path) -> Path:
    """Leave a store with things before and after its copy; return its file."""
    store = open_store(folder)
    with store.database.transaction():
        add(store, _BEFORE)
    store.back_up()
    add(store, _AFTER)
    crash(store)
    return folder / "metadata.db"


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def damage_head(path: Path) -> None:
    overwrite(path, 0, b"no database")


def damage_middle(path: Path) -> None:
    overwrite(path, 4096 * 3, b"\x55" * 4096 * 4)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 * 4])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


def remove_but_leave_wal(path: Path) -> None:
    path.rename(f"{path}-wal")


@pytest.mark.parametrize(
    "spoil", [damage_head, damage_middle, truncate, empty, remove, remove_but_leave_wal]
)
def test_it_is_made_anew_with_every_change(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = fill(tmp_path)
    spoil(path)
    bad = [item.read_bytes() for item in tmp_path.glob("metadata.db*")]
    store = open_store(tmp_path)
    assert count(store) == _BEFORE + _AFTER
    (line,) = store.problems
    assert f"repaired from its second copy and {_AFTER} changes made since" in line
    assert store.lost_found in line
    assert [item.read_bytes() for item in Path(store.lost_found).glob("metadata.db*")] == bad
    add(store)
    store.close()
    # It is sound now and stays so; the line is said until the folder is gone.
    again = open_store(tmp_path)
    assert (again.lost_found, again.problems, count(again)) == ("", [line], _BEFORE + _AFTER + 1)
    assert has_lost_found(str(tmp_path))
    for item in Path(store.lost_found).iterdir():
        item.unlink()
    assert again.problems == []
    assert not has_lost_found(str(tmp_path))
    again.close()


@pytest.mark.parametrize("spoil", [damage_head, damage_middle, truncate])
@pytest.mark.parametrize("spoil_copy", [damage_head, empty, remove])
def test_without_a_sound_copy_nothing_is_touched(
    tmp_path: Path, spoil: Callable[[Path], None], spoil_copy: Callable[[Path], None]
) -> None:
    path = fill(tmp_path)
    spoil(path)
    spoil_copy(tmp_path / "metadata.backup")
    before = {item: item.read_bytes() for item in tmp_path.iterdir()}
    with pytest.raises(DataLossError, match=r"is damaged .* no sound copy of it: put a copy"):
        open_store(tmp_path)
    assert {item: item.read_bytes() for item in tmp_path.iterdir()} == before


def test_a_store_that_is_gone_while_its_containers_are_there(tmp_path: Path) -> None:
    with pytest.raises(DataLossError, match="is gone and there is no sound copy"):
        open_store(tmp_path, is_in_use=True)
    (tmp_path / "metadata.db").touch()
    with pytest.raises(DataLossError, match="is empty and there is no sound copy"):
        open_store(tmp_path, is_in_use=True)
    # A first start that was killed before it wrote anything is no loss.
    open_store(tmp_path).close()


def test_a_store_that_another_process_locks_is_not_damaged(tmp_path: Path) -> None:
    path = fill(tmp_path)
    other = sqlite3.connect(path)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("PRAGMA journal_mode=DELETE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(
        SystemFailureError, match=r"cannot read metadata store .*: database is lock"
    ):
        open_store(tmp_path)
    other.close()
    assert not has_lost_found(str(tmp_path))


def test_a_copy_that_was_not_finished_costs_nothing(tmp_path: Path) -> None:
    path = fill(tmp_path)
    # What `kill -9` leaves of a copy before its rename, and of a repair.
    for name in ("backup.tmp", "backup.tmp-wal", "repaired", "repaired-wal"):
        (tmp_path / f"metadata.{name}").write_bytes(b"half of a copy" * 1000)
    empty(path)
    store = open_store(tmp_path)
    assert count(store) == _BEFORE + _AFTER
    store.close()


def test_a_copy_without_its_journal_is_one_without_changes(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    add(store, 3)
    store.back_up()
    crash(store)
    (journal,) = tmp_path.glob("metadata.journal-*")
    # Killed between the rename of the copy and the first byte of its journal.
    journal.rename(tmp_path / "metadata.journal-1")
    (tmp_path / "metadata.journal-1").write_bytes(b"of an older copy\n")
    empty(tmp_path / "metadata.db")
    store = open_store(tmp_path)
    assert count(store) == 3
    store.close()


def test_damage_while_it_runs_does_not_reach_the_copy(tmp_path: Path) -> None:
    path = fill(tmp_path)
    store = open_store(tmp_path)
    good = (tmp_path / "metadata.backup").read_bytes()
    store.database.query("PRAGMA wal_checkpoint(TRUNCATE)")
    store.database.query("PRAGMA shrink_memory")
    damage_middle(path)
    store.back_up()
    assert "no second copy can be made" in store.problems[0]
    assert (tmp_path / "metadata.backup").read_bytes() == good
    crash(store)
    store = open_store(tmp_path)
    assert count(store) == _BEFORE + _AFTER
    store.close()


def test_replay_ends_where_the_journal_cannot_be_read(tmp_path: Path) -> None:
    path = fill(tmp_path)
    (journal,) = tmp_path.glob("metadata.journal-*")
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"INSERT", b"DELETE")
    journal.write_bytes(b"".join(lines))
    path.unlink()
    store = open_store(tmp_path)
    assert count(store) == _BEFORE + 2
    assert store.problems[1].startswith("the last changes of the metadata store could not be read")
    store.close()


def test_what_is_rolled_back_is_in_no_copy(tmp_path: Path) -> None:
    store = open_store(tmp_path)

    def fail() -> None:
        with store.database.transaction():
            add(store)
            store.database.execute("INSERT INTO things (id) VALUES (1)")

    with pytest.raises(sqlite3.IntegrityError):
        fail()
    add(store)
    crash(store)
    (tmp_path / "metadata.db").unlink()
    store = open_store(tmp_path)
    assert store.database.query("SELECT id FROM things") == [(1,)]
    store.close()


def test_a_long_journal_is_replaced_by_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kedge.lib.safestore._JOURNAL_LIMIT", 4000)
    renewed: list[Callable[[], None]] = []

    class Thread:
        def __init__(self, *, target: Callable[[], None], name: str) -> None:
            renewed.append(target)
            self.name = name

        def start(self) -> None:
            """The test runs it."""

    monkeypatch.setattr("kedge.lib.safestore.threading.Thread", Thread)
    store = open_store(tmp_path)
    add(store, 30)
    assert len(renewed) == 1
    renewed[0]()
    assert not next(tmp_path.glob("metadata.journal-*")).read_bytes()
    add(store, 2)
    crash(store)
    (tmp_path / "metadata.db").unlink()
    store = open_store(tmp_path)
    assert count(store) == 32
    store.close()
