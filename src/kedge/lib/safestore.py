"""The metadata store with a second copy beside it, and its repair from that copy.

    metadata.db            the store; the only truth while it is sound
    metadata.backup        a copy of it, made when the engine starts and when the journal is long
    metadata.journal-N     every change since copy N, see `kedge.lib.journal`

A store that is damaged, empty or gone is found when it is opened. It is made anew from the copy and
the changes after it, and the bad file goes to ``lost+found/<time>``; a file there says what was
done. Without a sound copy nothing is touched and the engine does not start: it would take every
container for a stray.
"""

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Final

from kedge.errdefs import DataLossError, KedgeError, SystemFailureError
from kedge.lib.atomicfile import sync_directory, write_atomic
from kedge.lib.clock import Clock
from kedge.lib.database import Database, is_damage
from kedge.lib.journal import Change, Journal, read_journal

_PARTS: Final = ("", "-wal", "-shm", "-journal")
_LOST: Final = "lost+found"
_REPORT: Final = "repair.txt"
_JOURNAL_LIMIT: Final = 8 * 1024 * 1024
_RETRY_CHANGES: Final = 64
_LOCK_WAIT_S: Final = 0.5


class SafeStore:
    """A sound `Database` and the copy of it."""

    def __init__(self, path: str, *, clock: Clock, is_in_use: bool = False) -> None:
        """Open or make the store, repairing it first where it needs that.

        Args:
            path: The store's file; the copies are beside it.
            clock: Names the folder a bad file is moved to.
            is_in_use: Things lie on disk that only a store can explain.

        Raises:
            DataLossError: It is damaged and so is the copy, or there is none.
            SystemFailureError: It cannot be read for another reason.
            OSError: The disk is full or read-only.
        """
        self._path = path
        self._root = os.path.dirname(path) or "."
        self._base = os.path.splitext(path)[0]
        self.lost_found = ""
        """The folder for what the store does not know; "" without a repair at this start."""
        damage = _find_damage(path)
        if damage and (is_in_use or os.path.exists(self._backup) or _has_bytes(path)):
            self._repair(damage, clock)
        self._journal: Journal | None = None
        self._copy_failure = ""
        self._unwritten = 0
        self.database = Database(path)
        self.database.on_commit = self._note
        self.back_up()

    @property
    def problems(self) -> list[str]:
        """One line for each thing an administrator must know, as long as it is so."""
        failure = [self._copy_failure] if self._copy_failure else []
        return [*failure, *_load_reports(os.path.join(self._root, _LOST))]

    def back_up(self) -> None:
        """Make a new copy, after which the journal begins anew; a failure is among `problems`.

        Nobody can use the store meanwhile, so that copy and journal fit together at every moment.
        """
        with self.database.exclusive():
            try:
                self._copy()
            except (OSError, sqlite3.Error, KedgeError) as error:
                self._copy_failure = (
                    f"metadata store {self._path}: no second copy can be made: {error}"
                )
            else:
                self._copy_failure = ""

    def close(self) -> None:
        """Make a last copy and close the store."""
        self.back_up()
        self.database.on_commit = None
        self.database.close()
        if self._journal is not None:
            self._journal.close()

    @property
    def _backup(self) -> str:
        return f"{self._base}.backup"

    def _journal_path(self, number: int) -> str:
        return f"{self._base}.journal-{number}"

    def _copy(self) -> None:
        temporary = f"{self._backup}.tmp"
        _remove_store(temporary)
        number = max([0, *_journal_numbers(self._base)]) + 1
        self.database.copy_to(temporary, number=number)
        # A copy of damaged pages must not take the place of a good one.
        damage = _find_damage(temporary)
        if damage:
            raise DataLossError(f"it {damage}: restart kedged, which repairs it")
        _sync(temporary)
        os.rename(temporary, self._backup)
        # The copy names its journal: one that does not exist yet is one without changes.
        old, self._journal = self._journal, None
        if old is not None:
            old.close()
        self._journal = Journal(self._journal_path(number))
        sync_directory(self._root)
        for past in _journal_numbers(self._base):
            if past < number:
                os.unlink(self._journal_path(past))

    def _note(self, changes: Sequence[Change]) -> None:
        """Write a transaction to the journal; called with the store locked."""
        journal = self._journal
        if journal is not None:
            journal.append(changes)
            if journal.is_whole and journal.size_bytes < _JOURNAL_LIMIT:
                return
        # The journal ended with its last change, or is long: a new copy takes its place.
        if self._unwritten % _RETRY_CHANGES == 0:
            threading.Thread(target=self._renew, name="kedge-copy").start()
        self._unwritten += 1

    def _renew(self) -> None:
        self.back_up()
        self._unwritten = 0 if not self._copy_failure else self._unwritten

    def _repair(self, damage: str, clock: Clock) -> None:
        if not _is_sound(self._backup):
            raise DataLossError(
                f"metadata store {self._path} {damage} and there is no sound copy of it: put a "
                f"copy of your own there, or move everything in {self._root} but volumes/ away "
                "to start without containers and images"
            )
        fresh = f"{self._base}.repaired"
        _remove_store(fresh)
        shutil.copyfile(self._backup, fresh)
        applied, is_whole = _replay(fresh, self._base)
        _sync(fresh)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(clock.time_ns() // 1_000_000_000))
        aside = os.path.join(self._root, _LOST, f"{stamp}-{clock.time_ns() % 1_000_000_000:09}")
        os.makedirs(aside, mode=0o700)
        report = (
            f"metadata store {self._path} {damage}: repaired from its second copy and {applied} "
            f"changes made since; what was bad or belongs to nothing is kept in {aside}: look "
            "through it, then remove it\n"
        )
        if not is_whole:
            report += (
                "the last changes of the metadata store could not be read: compare 'docker ps -a' "
                "and 'docker images' with what you expect\n"
            )
        write_atomic(os.path.join(aside, _REPORT), report.encode())
        # The journals first belong to the bad file, which a crash here leaves in its place.
        for part in reversed(_PARTS):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self._path}{part}", os.path.join(aside, f"metadata.db{part}"))
        os.rename(fresh, self._path)
        sync_directory(self._root)
        self.lost_found = aside


def has_lost_found(data_root: str) -> bool:
    """Whether a repair was made that nobody has cleared away: nothing unknown may be removed."""
    return bool(_load_reports(os.path.join(data_root, _LOST)))


def _find_damage(path: str) -> str:
    """Return what is wrong with a store in a few words, or nothing.

    Raises:
        SystemFailureError: That cannot be told: locked, not readable, no memory.
    """
    try:
        if os.stat(path).st_size == 0:
            return "is empty"
    except FileNotFoundError:
        return "is gone"
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_LOCK_WAIT_S)) as connection:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise SystemFailureError(f"cannot read metadata store {path}: {error}") from error
        return f"is damaged ({error})"
    return "" if answer == "ok" else f"is damaged ({' '.join(str(answer).split())})"


def _is_sound(path: str) -> bool:
    try:
        return not _find_damage(path)
    except SystemFailureError:
        return False


def _has_bytes(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def _remove_store(path: str) -> None:
    """Remove what a crash left of a store: its log would be taken for that of a new file."""
    for part in _PARTS:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{part}")


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load_reports(folder: str) -> list[str]:
    lines: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder)):
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                open(os.path.join(folder, name, _REPORT), encoding="utf-8") as stream,
            ):
                lines.extend(stream.read().splitlines())
    return lines


def _journal_numbers(base: str) -> list[int]:
    prefix = f"{os.path.basename(base)}.journal-"
    tails = [
        name.removeprefix(prefix)
        for name in os.listdir(os.path.dirname(base) or ".")
        if name.startswith(prefix)
    ]
    return sorted(int(tail) for tail in tails if tail.isdigit())


def _replay(path: str, base: str) -> tuple[int, bool]:
    """Make the changes since the copy at ``path`` in it; return how many, and whether all."""
    applied = 0
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        for changes in read_journal(f"{base}.journal-{number}"):
            if changes is None:
                return applied, False
            connection.execute("BEGIN")
            try:
                for statement, values in changes:
                    connection.execute(statement, values)
            except sqlite3.Error:
                connection.execute("ROLLBACK")
                return applied, False
            connection.execute("COMMIT")
            applied += 1
    return applied, True
