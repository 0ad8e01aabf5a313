"""The one transactional metadata store: SQLite in WAL mode.

Every package that keeps records hands its schema to `Database.ensure_schema` and owns its
tables; nobody reads another package's tables. Connections are shared between threads behind one
re-entrant lock, because a transaction here takes microseconds and simplicity is worth more.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from kedge.errdefs import DataLossError, SystemFailureError
from kedge.lib import journal

Value: TypeAlias = journal.Value
Row: TypeAlias = tuple[Value, ...]


class Database:
    """A SQLite file whose committed transactions survive ``kill -9`` and power cuts."""

    def __init__(self, path: str) -> None:
        """Open or create the store at ``path`` (``:memory:`` for a test)."""
        self._lock = threading.RLock()
        self._depth = 0
        self._durable: bool = True
        self._changes: list[journal.Change] = []
        self.on_commit: Callable[[Sequence[journal.Change]], None] | None = None
        """Told of the changing statements of each transaction, in the order of the commits."""
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA foreign_keys=ON")

    def ensure_schema(self, statements: Sequence[str]) -> None:
        """Run ``CREATE ... IF NOT EXISTS`` statements in one transaction."""
        with self.transaction():
            for statement in statements:
                self._connection.execute(statement)
                self._changes.append((statement, ()))

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Generator[None, None, None]:
        """Make everything inside happen together or not at all; nesting joins the outer one.

        Args:
            durable: Flush to disk at commit. Off, a power cut may lose this transaction, but
                never half of it, and ``kill -9`` loses nothing.
        """
        with self._lock:
            if self._depth:
                yield
                return
            if durable != self._durable:
                self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            self._changes = []
            try:
                yield
                self._connection.execute("COMMIT")
                if self.on_commit is not None and self._changes:
                    self.on_commit(self._changes)
            except BaseException as error:
                # A full disk may have ended the transaction already, or left it open at COMMIT.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if _is_disk_full(error):
                    raise SystemFailureError(
                        "no space left on device: cannot write the metadata store;"
                        " free some space on the data root's disk"
                    ) from error
                if is_damage(error):
                    raise DataLossError(
                        f"the metadata store is damaged ({error}): restart kedged, which repairs it"
                    ) from error
                raise
            finally:
                self._depth -= 1

    def execute(self, statement: str, parameters: Sequence[Value] = ()) -> int:
        """Run one changing statement; return how many rows it changed."""
        with self.transaction():
            done = self._connection.execute(statement, parameters)
            self._changes.append((statement, tuple(parameters)))
            return done.rowcount

    def query(self, statement: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Return all rows of a SELECT."""
        with self._lock:
            return list(self._connection.execute(statement, parameters))

    def query_one(self, statement: str, parameters: Sequence[Value] = ()) -> Row | None:
        """Return the first row of a SELECT, or None."""
        with self._lock:
            row: Row | None = self._connection.execute(statement, parameters).fetchone()
            return row

    @contextmanager
    def exclusive(self) -> Generator[None, None, None]:
        """Let no other thread use the store meanwhile."""
        with self._lock:
            yield

    def copy_to(self, path: str, *, number: int) -> None:
        """Write everything committed to a new store at ``path``, whose ``user_version`` is set."""
        with self._lock, contextlib.closing(sqlite3.connect(path)) as target:
            self._connection.backup(target)
            target.execute(f"PRAGMA user_version={number}")

    def close(self) -> None:
        """Close the connection; the WAL is checkpointed by SQLite."""
        with self._lock:
            self._connection.close()


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file is not what it has written."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    # Errors of the Python module itself carry no code.
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _is_disk_full(error: BaseException) -> bool:
    return (
        isinstance(error, sqlite3.OperationalError)
        and error.sqlite_errorcode == sqlite3.SQLITE_FULL
    )
