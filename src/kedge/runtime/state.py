"""The state directory of `kedge-runtime`: which containers there are, and what became of them.

``<root>/<id>/`` holds ``config.json`` (the spec as it was at creation), ``state.json`` (the rest)
and, until the container is started, ``start.sock``, on which its first process waits. The status
is never stored: it follows from the process, the socket and the freezer, so it is true after any
crash. A pid counts only together with its start time.
"""

from __future__ import annotations

import _socket
import os

from kedge.errdefs import ConflictError, InvalidParameterError, NotFoundError
from kedge.lib import quickjson
from kedge.lib.atomicfile import write_atomic
from kedge.lib.blocks import suppress
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.oci.fields import (
    optional_boolean,
    optional_string,
    read_object,
    require_integer,
    require_string,
)
from kedge.oci.runtime_spec import Spec, parse_spec
from kedge.runtime.cgroups.detect import make_cgroup

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject
    from kedge.runtime.cgroups.protocol import Cgroup


_START_SOCKET: Final = "start.sock"
_ID_CHARACTERS: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-"
)
_ID_MAX: Final = 1024


class Record(NamedTuple):
    """What is kept about a container."""

    pid: int
    start_time: int
    """Field 22 of /proc/PID/stat, which makes the pid unambiguous."""
    bundle: str
    cgroup_path: str
    """Empty for none."""
    created_ns: int
    new_keyring: bool = True
    """Whether it has a session keyring of its own, for what is executed in it later."""


def check_id(container_id: str) -> str:
    """Return ``container_id`` if it can be one.

    Raises:
        InvalidParameterError: It has characters a directory name should not have.
    """
    valid = 0 < len(container_id) <= _ID_MAX and _ID_CHARACTERS.issuperset(container_id)
    if not valid or container_id in (".", ".."):
        raise InvalidParameterError(
            f"invalid container id {container_id!r}: only letters, digits and _+.- are allowed"
        )
    return container_id


def start_time_of(pid: int) -> int:
    """Return when ``pid`` started, in clock ticks since boot; 0 when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return 0
    # The name in parentheses may itself hold spaces and parentheses.
    fields = text.rpartition(b")")[2].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def load_json(path: str) -> Json:
    """Return the JSON document in the file ``path``.

    Raises:
        NotFoundError: There is no such file.
        InvalidParameterError: It is not JSON.
    """
    try:
        with open(path, "rb") as file:
            document = quickjson.decode(file.read())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"no such file: {path}") from error
    except ValueError as error:
        raise InvalidParameterError(f"{path} is not JSON: {error}") from error
    return document


class StateDirectory:
    """One container's directory."""

    __slots__ = ("container_id", "path")

    def __init__(self, root: str, container_id: str) -> None:
        """Name the directory; nothing is read or made."""
        self.container_id = check_id(container_id)
        self.path = os.path.join(root, container_id)

    def create(self) -> None:
        """Make the directory, which takes the name.

        Raises:
            ConflictError: The name is taken.
        """
        os.makedirs(os.path.dirname(self.path), 0o711, exist_ok=True)
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError as error:
            raise ConflictError(f"container {self.container_id} exists already") from error

    def remove(self) -> None:
        """Remove the directory with everything in it."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self.path):
                os.unlink(os.path.join(self.path, name))
            os.rmdir(self.path)

    def owner(self) -> str:
        """Return the name, or else the number, of the user the container was made by."""
        import pwd  # noqa: PLC0415 - for those who look only

        uid = os.stat(self.path).st_uid
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    def listen(self) -> _socket.socket:
        """Return a socket on which the container's process waits for `connect`."""
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        directory = self._open()
        try:
            listener.bind(_address(directory))
        finally:
            os.close(directory)
        listener.listen(1)
        return listener

    def connect(self) -> _socket.socket:
        """Return a connection to the container's waiting process.

        Raises:
            ConflictError: It was started already, or it is gone.
        """
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        directory = self._open()
        try:
            connection.connect(_address(directory))
        except OSError as error:
            connection.close()
            raise ConflictError(
                f"cannot start container {self.container_id}: it is not in the state created"
            ) from error
        finally:
            os.close(directory)
        return connection

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFoundError(f"container {self.container_id} does not exist") from error

    def forget_start(self) -> None:
        """Note that the container was started."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, _START_SOCKET))

    def awaits_start(self) -> bool:
        """Tell whether the container was not started yet."""
        return os.path.exists(os.path.join(self.path, _START_SOCKET))

    def save(self, record: Record, config: bytes) -> None:
        """Keep ``record`` and the text of the spec."""
        write_atomic(os.path.join(self.path, "config.json"), config, durable=False)
        document: JsonObject = {
            "pid": record.pid,
            "startTime": record.start_time,
            "bundle": record.bundle,
            "cgroupPath": record.cgroup_path,
            "createdNs": record.created_ns,
            "newKeyring": record.new_keyring,
        }
        path = os.path.join(self.path, "state.json")
        write_atomic(path, quickjson.encode(document), durable=False)

    def load(self) -> Container:
        """Return the container.

        Raises:
            NotFoundError: There is none, or its creation never ended.
        """
        try:
            document = read_object(load_json(os.path.join(self.path, "state.json")), "state.json")
            config = read_object(load_json(os.path.join(self.path, "config.json")), "config.json")
        except NotFoundError as error:
            raise NotFoundError(f"container {self.container_id} does not exist") from error
        record = Record(
            pid=require_integer(document, "pid", "state.json"),
            start_time=require_integer(document, "startTime", "state.json"),
            bundle=require_string(document, "bundle", "state.json"),
            cgroup_path=optional_string(document, "cgroupPath", "state.json") or "",
            created_ns=require_integer(document, "createdNs", "state.json"),
            new_keyring=optional_boolean(document, "newKeyring", "state.json") is not False,
        )
        return Container(self, record, parse_spec(config))


def _address(directory: int) -> str:
    # A socket's address holds 107 bytes, and a state directory may be anywhere.
    return f"/proc/self/fd/{directory}/{_START_SOCKET}"


class Container:
    """A container as its state directory and the kernel know it."""

    __slots__ = ("directory", "record", "spec")

    def __init__(self, directory: StateDirectory, record: Record, spec: Spec) -> None:
        """Keep what was loaded."""
        self.directory = directory
        self.record = record
        self.spec = spec

    @property
    def container_id(self) -> str:
        """The id."""
        return self.directory.container_id

    def is_alive(self) -> bool:
        """Tell whether the container's first process is still that process."""
        # None was recorded where it had died before that: a dead process has none either.
        return start_time_of(self.record.pid) == self.record.start_time != 0

    def cgroup(self) -> Cgroup | None:
        """Return where the container lives."""
        return make_cgroup(self.record.cgroup_path) if self.record.cgroup_path else None

    def living_cgroup(self) -> Cgroup:
        """Return where the container lives.

        Raises:
            ConflictError: It does not any more.
        """
        cgroup = self.cgroup()
        if cgroup is None or not cgroup.exists():
            raise ConflictError(f"container {self.container_id} is not running")
        return cgroup

    def status(self) -> str:
        """Return ``created``, ``running``, ``paused`` or ``stopped``."""
        if not self.is_alive():
            return "stopped"
        cgroup = self.cgroup()
        if cgroup is not None and cgroup.is_frozen():
            return "paused"
        return "created" if self.directory.awaits_start() else "running"


def load_all(root: str) -> list[Container]:
    """Return every container below ``root``, by name; directories that are none are left out."""
    found: list[Container] = []
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    for name in names:
        with suppress(NotFoundError, InvalidParameterError):
            found.append(StateDirectory(root, name).load())
    return found
