"""The records and directories behind a snapshotter, kept true to each other across crashes.

A snapshot is a row and a directory ``<root>/<n>`` with a short number, because the options of an
overlay mount must fit in one page. The row decides: a directory without one is a leftover. So
directories are made before the row is committed and thrown away after it is gone:

    prepare   BEGIN, insert row, mkdir, COMMIT        crash before COMMIT: a stray directory
    remove    delete row, COMMIT, rename to trash/    crash between: a stray directory
    open      strays go to trash/, rows without a directory are deleted
    purge     trash/ is emptied; nothing waits for it

A power cut is another matter: files written shortly before may come back empty although their
row is there. A layer therefore carries the boot in which it was committed until `sync` has
flushed it, and a layer of an earlier boot that was never flushed is dropped at open.
"""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from kedge.archive.removal import remove_tree
from kedge.errdefs import ConflictError, NotFoundError, SystemFailureError
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.lib.database import Database, Row, Value
from kedge.linux.syncfs import syncfs
from kedge.snapshots.snapshotter import SnapshotInfo, SnapshotKind, Usage

_TRASH: Final = "trash"
_SCHEMA: Final = (
    # AUTOINCREMENT: a number is not used again while its directory may still be in the trash.
    """CREATE TABLE IF NOT EXISTS snapshots (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        driver TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        parent INTEGER REFERENCES snapshots(id),
        created_ns INTEGER NOT NULL,
        size_bytes INTEGER,
        inodes INTEGER,
        is_ready INTEGER NOT NULL,
        unsynced_boot TEXT,
        UNIQUE (driver, name)
    )""",
    "CREATE INDEX IF NOT EXISTS snapshots_parent ON snapshots(parent)",
)
_COLUMNS: Final = "s.id, s.name, s.kind, s.parent, p.name, s.created_ns, s.size_bytes, s.inodes"
_FROM: Final = "FROM snapshots s LEFT JOIN snapshots p ON s.parent = p.id"


class Record(NamedTuple):
    """One row."""

    number: int
    name: str
    kind: SnapshotKind
    parent: int | None
    parent_name: str | None
    created_ns: int
    usage: Usage | None

    @property
    def info(self) -> SnapshotInfo:
        """The row as the Snapshotter protocol shows it."""
        size_bytes = None if self.usage is None else self.usage.size_bytes
        return SnapshotInfo(self.name, self.kind, self.parent_name, self.created_ns, size_bytes)


def _record(row: Row) -> Record:
    number, name, kind, parent, parent_name, created_ns, size_bytes, inodes = row
    assert isinstance(name, str)
    assert parent_name is None or isinstance(parent_name, str)
    usage = None
    if isinstance(size_bytes, int) and isinstance(inodes, int):
        usage = Usage(size_bytes, inodes)
    return Record(
        _integer(number),
        name,
        SnapshotKind(str(kind)),
        None if parent is None else _integer(parent),
        parent_name,
        _integer(created_ns),
        usage,
    )


class SnapshotStore:
    """Rows of one driver in the database, and their directories."""

    def __init__(
        self,
        root: str,
        database: Database,
        *,
        driver: str,
        clock: Clock = SYSTEM_CLOCK,
        boot: str | None = None,
    ) -> None:
        """Open ``root``, made if missing, and put right what a crash left.

        Args:
            root: The driver's own directory.
            database: The metadata store.
            driver: Tells the rows of several drivers apart.
            clock: Time of creation records.
            boot: Identity of the running kernel; None for the real one.
        """
        self.root = root
        self._database = database
        self._driver = driver
        self._clock = clock
        self._boot = load_boot_id() if boot is None else boot
        self._purging = threading.Lock()
        self.recovered: tuple[str, ...] = ()
        """Names of records whose content was lost and which were deleted at open."""
        os.makedirs(os.path.join(root, _TRASH), mode=0o700, exist_ok=True)
        # What lies below belongs to containers; nobody else on the host may look in.
        os.chmod(root, 0o700)
        database.ensure_schema(_SCHEMA)
        self._reconcile()

    def directory(self, number: int) -> str:
        """Return the directory of a snapshot."""
        return os.path.join(self.root, str(number))

    def get(self, name: str) -> Record:
        """Return the record of ``name``.

        Raises:
            NotFoundError: There is none, or it is still being made.
        """
        record = self.try_get(name)
        if record is None:
            raise NotFoundError(f"no such snapshot: {name}")
        return record

    def try_get(self, name: str) -> Record | None:
        """Return the record of ``name``, if there is one."""
        row = self._database.query_one(
            f"SELECT {_COLUMNS} {_FROM} WHERE s.driver = ? AND s.name = ? AND s.is_ready",
            (self._driver, name),
        )
        return None if row is None else _record(row)

    def walk(self) -> list[Record]:
        """Return every record, in the order of creation."""
        rows = self._database.query(
            f"SELECT {_COLUMNS} {_FROM} WHERE s.driver = ? AND s.is_ready ORDER BY s.id",
            (self._driver,),
        )
        return [_record(row) for row in rows]

    def ancestors(self, record: Record) -> list[int]:
        """Return the numbers of the layers below a snapshot, top first."""
        rows = self._database.query(
            """WITH RECURSIVE chain(id, parent, depth) AS (
                SELECT id, parent, 0 FROM snapshots WHERE id = ?
                UNION ALL
                SELECT s.id, s.parent, depth + 1 FROM snapshots s JOIN chain ON s.id = chain.parent
            ) SELECT id FROM chain WHERE depth > 0 ORDER BY depth""",
            (record.number,),
        )
        return [_integer(row[0]) for row in rows]

    def create(
        self,
        name: str,
        kind: SnapshotKind,
        parent: str | None,
        *,
        make: Callable[[Record], None],
        fill: Callable[[Record], None] | None = None,
    ) -> Record:
        """Add a snapshot and its directory.

        Args:
            name: Key.
            kind: ACTIVE or VIEW.
            parent: A committed snapshot.
            make: Makes the directories inside, in the same transaction; quick.
            fill: Copies content afterwards; may be slow. Nobody sees the snapshot before.

        Raises:
            ConflictError: ``name`` is taken or ``parent`` is not committed.
            NotFoundError: There is no ``parent``.
        """
        # An active snapshot means something only together with its container, whose record is
        # flushed by its owner: a power cut may lose both, a crash of this process neither.
        with self._database.transaction(durable=False):
            record = self._insert(name, kind, parent, is_ready=fill is None)
            try:
                self._make_directory(record.number)
                make(record)
            except BaseException:
                self._throw_away(record.number)
                raise
        if fill is not None:
            try:
                fill(record)
            except BaseException:
                self._delete_row(record.number)
                self._throw_away(record.number)
                raise
            with self._database.transaction(durable=False):
                self._execute("UPDATE snapshots SET is_ready = 1 WHERE id = ?", record.number)
        return record

    def commit(self, name: str, record: Record, usage: Usage) -> None:
        """Rename an active snapshot to ``name`` and make it a layer.

        Raises:
            ConflictError: ``name`` is taken or the snapshot is not active.
        """
        # Its content survives a power cut only after `sync`, which flushes this row, too.
        with self._database.transaction(durable=False):
            current = self.get(record.name)
            if current.kind is not SnapshotKind.ACTIVE or current.number != record.number:
                raise ConflictError(f"snapshot {record.name} is {current.kind}, not active")
            self._refuse_taken(name)
            self._database.execute(
                "UPDATE snapshots SET name = ?, kind = ?, size_bytes = ?, inodes = ?,"
                " unsynced_boot = ? WHERE id = ?",
                (
                    name,
                    SnapshotKind.COMMITTED,
                    usage.size_bytes,
                    usage.inodes,
                    self._boot,
                    record.number,
                ),
            )

    def remove(self, name: str) -> None:
        """Delete a record and move its directory to the trash.

        Raises:
            NotFoundError: There is no such snapshot.
            ConflictError: Another snapshot is based on it.
        """
        with self._database.transaction(durable=False):
            record = self.get(name)
            child = self._database.query_one(
                "SELECT name FROM snapshots WHERE parent = ?", (record.number,)
            )
            if child is not None:
                raise ConflictError(f"snapshot {name} is the parent of {child[0]!s}")
            self._delete_row(record.number)
        self._throw_away(record.number)

    def sync(self) -> None:
        """Flush the file system; the layers committed before survive a power cut from now on."""
        root_fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            unsynced = self._database.query(
                "SELECT id FROM snapshots WHERE driver = ? AND unsynced_boot IS NOT NULL",
                (self._driver,),
            )
            if not unsynced:
                return
            syncfs(root_fd)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise SystemFailureError(f"cannot flush {self.root}: {reason}") from error
        finally:
            os.close(root_fd)
        with self._database.transaction():
            for row in unsynced:
                self._execute(
                    "UPDATE snapshots SET unsynced_boot = NULL WHERE id = ?", _integer(row[0])
                )

    def purge(self) -> int:
        """Empty the trash; return how many directories were in it."""
        with self._purging:
            trash_fd = os.open(
                os.path.join(self.root, _TRASH), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            )
            try:
                names = os.listdir(trash_fd)
                for name in names:
                    remove_tree(name, dir_fd=trash_fd)
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                message = f"cannot delete {error.filename} of a removed snapshot: {reason}"
                raise SystemFailureError(message) from error
            finally:
                os.close(trash_fd)
        return len(names)

    def _insert(
        self, name: str, kind: SnapshotKind, parent: str | None, *, is_ready: bool
    ) -> Record:
        self._refuse_taken(name)
        base = None if parent is None else self.get(parent)
        if base is not None and base.kind is not SnapshotKind.COMMITTED:
            raise ConflictError(f"snapshot {parent} is {base.kind}, not committed")
        created_ns = self._clock.time_ns()
        parent_number = None if base is None else base.number
        self._database.execute(
            "INSERT INTO snapshots (driver, name, kind, parent, created_ns, is_ready)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (self._driver, name, kind, parent_number, created_ns, int(is_ready)),
        )
        row = self._database.query_one("SELECT last_insert_rowid()")
        number = 0 if row is None else _integer(row[0])
        return Record(number, name, kind, parent_number, parent, created_ns, None)

    def _refuse_taken(self, name: str) -> None:
        taken = self._database.query_one(
            "SELECT 1 FROM snapshots WHERE driver = ? AND name = ?", (self._driver, name)
        )
        if taken is not None:
            raise ConflictError(f"snapshot {name} exists already")

    def _make_directory(self, number: int) -> None:
        path = self.directory(number)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            # A transaction around this one was rolled back, and the number given out again.
            self._throw_away(number)
            os.mkdir(path, 0o700)

    def _throw_away(self, number: int) -> None:
        trashed = os.path.join(self.root, _TRASH, f"{number}.{os.urandom(4).hex()}")
        with suppress(FileNotFoundError):
            os.rename(self.directory(number), trashed)

    def _execute(self, statement: str, number: int) -> None:
        self._database.execute(statement, (number,))

    def _delete_row(self, number: int) -> None:
        self._execute("DELETE FROM snapshots WHERE id = ?", number)

    def _reconcile(self) -> None:
        present = {int(name) for name in os.listdir(self.root) if name.isdigit()}
        with self._database.transaction():
            self._execute_driver("DELETE FROM snapshots WHERE driver = ? AND NOT is_ready")
            records = self.walk()
            damaged = self._database.query(
                "SELECT id FROM snapshots WHERE driver = ? AND unsynced_boot <> ?",
                (self._driver, self._boot),
            )
            lost = _find_lost(records, present - {_integer(row[0]) for row in damaged})
            # Children come after their parents, so they are deleted first.
            for record in reversed(lost):
                self._delete_row(record.number)
        self.recovered = tuple(record.name for record in lost)
        kept = {record.number for record in records} - {record.number for record in lost}
        for number in present - kept:
            self._throw_away(number)

    def _execute_driver(self, statement: str) -> None:
        self._database.execute(statement, (self._driver,))


def _find_lost(records: Sequence[Record], present: set[int]) -> list[Record]:
    """Return the records whose directory, or that of a layer below, is gone."""
    lost: dict[int, Record] = {}
    for record in records:
        if record.number not in present or record.parent in lost:
            lost[record.number] = record
    return list(lost.values())


def _integer(value: Value) -> int:
    assert isinstance(value, int)
    return value


def load_boot_id() -> str:
    """Return the kernel's random identity of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()
