from pathlib import Path

import pytest

from kedge.errdefs import SystemFailureError
from kedge.lib.database import Database


@pytest.fixture
def full(tmp_path: Path) -> Database:
    """Open a store that cannot grow."""
    database = Database(str(tmp_path / "store.db"))
    database.ensure_schema(["CREATE TABLE IF NOT EXISTS t (value TEXT)"])
    database.query("PRAGMA max_page_count = 3")
    return database


def test_a_full_disk_is_one_line_and_not_the_end(full: Database) -> None:
    with pytest.raises(SystemFailureError, match="no space left on device: cannot write the meta"):
        full.execute("INSERT INTO t VALUES (?)", ("x" * 100_000,))
    assert full.query("SELECT count(*) FROM t") == [(0,)]
    full.execute("INSERT INTO t VALUES (?)", ("fits",))
    assert full.query("SELECT value FROM t") == [("fits",)]
    full.close()


def test_an_error_inside_undoes_the_outer_transaction(full: Database) -> None:
    def fail() -> None:
        with full.transaction():
            full.execute("INSERT INTO t VALUES ('outer')")
            with full.transaction():
                raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
    assert full.query("SELECT count(*) FROM t") == [(0,)]
    full.close()
