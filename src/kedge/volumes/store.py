"""`VolumeStore`: which volumes there are, their folders, and who uses them.

A volume is a row in the metadata store and the folder ``<root>/<name>`` with ``_data`` and a
description of itself. The row decides. Folders change by renames alone, around the commit:

    making     .new/<name> is complete -> row committed -> renamed to <name>
    removing   <name> renamed to .gone/<n>/<name> -> row deleted -> deleted at leisure

So after ``kill -9`` a row brings its folder back from where it is, a folder in ``.new`` or
``.gone`` without a row goes, and a folder in its place without a row means that the metadata
store was lost: it is taken up again, never deleted.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Final

from kedge.errdefs import ConflictError, InvalidParameterError, NotFoundError, SystemFailureError
from kedge.lib.clock import Clock
from kedge.lib.database import Database
from kedge.lib.ids import new_id, short_id
from kedge.volumes.driver import Location, VolumeDriver
from kedge.volumes.local import LocalDriver
from kedge.volumes.model import ANONYMOUS_LABEL, LOCAL, Volume, check_name
from kedge.volumes.records import VolumeRecords, describe, parse_description

_DATA: Final = "_data"
_DESCRIPTION: Final = "volume.json"
_NEW: Final = ".new"
_GONE: Final = ".gone"


class VolumeStore:
    """All volumes of one engine; methods may be called from any thread."""

    def __init__(
        self,
        root: str,
        database: Database,
        clock: Clock,
        *,
        drivers: Sequence[VolumeDriver] = (LocalDriver(),),
    ) -> None:
        """Open the folder ``root`` and put right what a crash has left there."""
        self._root = root
        self._clock = clock
        self._lock = threading.RLock()
        self._records = VolumeRecords(database)
        self._drivers = {driver.name: driver for driver in drivers}
        self._users: dict[str, set[str]] = {}
        self._moving: set[str] = set()
        self.problems: list[str] = []
        """One line for each thing that was found wrong at open."""
        for path in (root, self._path(_NEW), self._path(_GONE)):
            os.makedirs(path, mode=0o711, exist_ok=True)
        self._volumes = {volume.name: volume for volume in self._records.load_all()}
        self._recover()

    def get(self, name: str) -> Volume:
        """Return a volume.

        Raises:
            NotFoundError: There is none, with Docker's text.
        """
        found = self._volumes.get(name)
        if found is None:
            raise NotFoundError(f"get {name}: no such volume")
        return found

    def __contains__(self, name: str) -> bool:
        """Whether there is such a volume."""
        return name in self._volumes

    def all(self) -> list[Volume]:
        """Return every volume in the order of their names."""
        with self._lock:
            return [self._volumes[name] for name in sorted(self._volumes)]

    def mountpoint(self, name: str) -> str:
        """Return the folder the store keeps for a volume's content."""
        return os.path.join(self._path(name), _DATA)

    def locate(self, name: str) -> Location:
        """Return where a volume's content is.

        Raises:
            NotFoundError: No such volume.
        """
        volume = self.get(name)
        return self._driver(volume).locate(volume, self.mountpoint(name))

    def create(
        self,
        name: str,
        *,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> tuple[Volume, bool]:
        """Return the volume ``name``, and whether it was made now; ``""`` makes an anonymous one.

        Like Docker, a volume that exists is returned as it is, whatever options are given.

        Raises:
            InvalidParameterError: A bad name or option.
            ConflictError: It exists with another driver.
            NotFoundError: No such driver.
        """
        with self._lock:
            existing = self._volumes.get(name)
            if existing is not None:
                if driver not in {"", existing.driver}:
                    raise ConflictError(
                        f"create {name}: conflict: volume name must be unique: it exists with "
                        f"driver {existing.driver}"
                    )
                return existing, False
            volume = self.stage(name, driver=driver, options=options, labels=labels)
            with self.publishing((volume,)):
                pass
            return volume, True

    def stage(
        self,
        name: str,
        *,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make the folder of a new volume, which exists once it has been published.

        Errors are those of `create`.
        """
        marks = dict(labels or {})
        if not name:
            name = new_id()
            marks.setdefault(ANONYMOUS_LABEL, "")
        check_name(name)
        volume = Volume(
            name=name,
            driver=driver or LOCAL,
            created_ns=self._clock.time_ns(),
            labels=marks,
            options=dict(options or {}),
        )
        self._driver(volume).check_options(volume)
        folder = self._path(_NEW, name)
        self.discard(volume)  # what a full disk has kept from being discarded before
        try:
            os.mkdir(folder, mode=0o711)
            with open(os.path.join(folder, _DESCRIPTION), "w", encoding="utf-8") as stream:
                stream.write(describe(volume))
            os.mkdir(os.path.join(folder, _DATA))
            os.chmod(os.path.join(folder, _DATA), 0o755)  # noqa: S103 - Docker's; whatever the umask
        except OSError as error:
            self.discard(volume)
            reason = os.strerror(error.errno or 0).lower()
            raise SystemFailureError(f"create {name}: {reason}") from error
        return volume

    def staged_data(self, volume: Volume) -> str:
        """Return the folder for the content of a volume that is not published yet."""
        return os.path.join(self._path(_NEW, volume.name), _DATA)

    def discard(self, volume: Volume) -> None:
        """Give up a volume that is not published."""
        shutil.rmtree(self._path(_NEW, volume.name), ignore_errors=True)

    @contextlib.contextmanager
    def publishing(self, volumes: Sequence[Volume]) -> Generator[None, None, None]:
        """Make staged volumes exist together with what the body writes, or give them all up."""
        try:
            with self._records.database.transaction():
                for volume in volumes:
                    self._records.insert(volume)
                yield
        except BaseException:
            for volume in volumes:
                self.discard(volume)
            raise
        for volume in volumes:
            os.rename(self._path(_NEW, volume.name), self._path(volume.name))
            with self._lock:
                self._volumes[volume.name] = volume

    def remove(self, name: str) -> Volume:
        """Remove a volume nobody uses; `purge` frees its space.

        Raises:
            NotFoundError: There is none.
            ConflictError: Containers use it, with Docker's text.
        """
        with self._lock:
            volume = self.get(name)
            users = self.users(name)
            if users:
                raise ConflictError(f"remove {name}: volume is in use - [{', '.join(users)}]")
            with self.removing((name,)):
                pass
        return volume

    @contextlib.contextmanager
    def removing(
        self, names: Iterable[str], *, durable: bool = True
    ) -> Generator[None, None, None]:
        """Remove volumes together with what the body writes, or nothing at all."""
        names = [name for name in names if name in self._volumes]
        with self._lock:
            moved = {name: self._path(_GONE, short_id(new_id())) for name in names}
            self._moving.update(moved.values())
        try:
            for name, place in moved.items():
                os.mkdir(place, mode=0o700)
                with contextlib.suppress(FileNotFoundError):  # somebody deleted it by hand
                    os.rename(self._path(name), os.path.join(place, name))
            with self._records.database.transaction(durable=durable):
                for name in names:
                    self._records.delete(name)
                yield
        except BaseException:
            for name, place in moved.items():
                with contextlib.suppress(FileNotFoundError):
                    os.rename(os.path.join(place, name), self._path(name))
            raise
        finally:
            with self._lock:
                self._moving.difference_update(moved.values())
        with self._lock:
            for name in names:
                self._volumes.pop(name, None)

    def purge(self) -> None:
        """Delete from disk what was removed; slow, for a thread of its own."""
        for name in os.listdir(self._path(_GONE)):
            place = self._path(_GONE, name)
            if place not in self._moving:
                shutil.rmtree(place, ignore_errors=True)

    def acquire(self, name: str, user: str) -> None:
        """Note that the container ``user`` refers to a volume."""
        with self._lock:
            self._users.setdefault(name, set()).add(user)

    def release(self, name: str, user: str) -> None:
        """Note that a container does not refer to a volume any more."""
        with self._lock:
            users = self._users.get(name, set())
            users.discard(user)
            if not users:
                self._users.pop(name, None)

    def users(self, name: str) -> list[str]:
        """Return the ids of the containers that refer to a volume."""
        with self._lock:
            return sorted(self._users.get(name, ()))

    def _driver(self, volume: Volume) -> VolumeDriver:
        driver = self._drivers.get(volume.driver)
        if driver is None:
            raise NotFoundError(
                f"create {volume.name}: error looking up volume plugin {volume.driver}: "
                f'plugin "{volume.driver}" not found'
            )
        return driver

    def _path(self, *names: str) -> str:
        return os.path.join(self._root, *names)

    def _recover(self) -> None:
        for name in os.listdir(self._path(_NEW)):
            self._bring_back(self._path(_NEW, name), name)
        for place in os.listdir(self._path(_GONE)):
            for name in os.listdir(self._path(_GONE, place)):
                self._bring_back(self._path(_GONE, place, name), name)
        for name in os.listdir(self._root):
            is_new = not name.startswith(".") and name not in self._volumes
            if is_new and os.path.isdir(self._path(name, _DATA)):
                self._take_up(name)
        for name in self._volumes:
            if not os.path.isdir(self.mountpoint(name)):
                self._make_anew(name)
            with contextlib.suppress(OSError):
                for entry in os.listdir(self._path(name)):
                    if entry.startswith(f"{_DATA}."):  # a copy that did not reach its end
                        shutil.rmtree(self._path(name, entry), ignore_errors=True)

    def _make_anew(self, name: str) -> None:
        try:
            os.makedirs(self.mountpoint(name), mode=0o755)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            self.problems.append(f"volume {name}: its folder is gone: {reason}")
        else:
            self.problems.append(f"volume {name}: its folder was gone: made anew, empty")

    def _bring_back(self, folder: str, name: str) -> None:
        """Put the folder of a volume in its place, or delete that of one that does not exist."""
        if name in self._volumes and not os.path.lexists(self._path(name)):
            os.rename(folder, self._path(name))
        elif name not in self._volumes and os.path.dirname(folder) == self._path(_NEW):
            shutil.rmtree(folder, ignore_errors=True)

    def _take_up(self, name: str) -> None:
        """Record a volume again of which only the folder is left."""
        try:
            check_name(name)
        except InvalidParameterError:
            return
        text = ""
        with (
            contextlib.suppress(OSError, UnicodeDecodeError),
            open(self._path(name, _DESCRIPTION), encoding="utf-8") as stream,
        ):
            text = stream.read()
        volume = parse_description(name, text)
        self._records.insert(volume)
        self._volumes[name] = volume
        self.problems.append(f"volume {name}: its record was gone: taken up from its folder")
