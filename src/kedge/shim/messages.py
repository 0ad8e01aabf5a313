"""What the engine and a shim say to each other: requests, answers, events, failures.

A message is one JSON object. The engine sends requests ``{"id": n, "op": "kill", ...}``; the shim
answers each with ``{"id": n, "result": {...}}`` or ``{"id": n, "error": {...}}``, in any order, and
sends events ``{"event": "exited", ...}`` on its own. ``"fds": n`` says how many descriptors travel
with a message. This module owns the shapes; `kedge.shim.framing` owns the bytes.
"""

from typing import Final, NamedTuple

from kedge import errdefs
from kedge.errdefs import KedgeError, SystemFailureError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci import fields
from kedge.oci.mounts import Mount
from kedge.oci.runtime_spec.types import IdMapping
from kedge.shim.logconfig import LogConfig, encode_log, parse_log
from kedge.shim.namesockets import NO_NAME_SERVER

SOCKET_NAME: Final = "shim.sock"
EXIT_NAME: Final = "exit.json"
REPORT_NAME: Final = "shim.log"

STDOUT: Final = 1
STDERR: Final = 2


class CreateRequest(NamedTuple):
    """Everything a shim needs to make one container from its bundle."""

    id: str
    bundle: str
    """Directory that holds ``config.json``."""
    run_dir: str
    """The container's own run directory: socket, exit status and the shim's report go there."""
    cgroup_path: str
    rootfs: tuple[Mount, ...] = ()
    terminal: bool = False
    stdin: bool = False
    """Open a pipe as standard input; without it the program reads /dev/null."""
    stdin_once: bool = False
    """Close the container's standard input when the first client that feeds it is done."""
    own_netns: bool = False
    uid_mappings: tuple[IdMapping, ...] = ()
    """With ``own_netns``: the user namespace the network namespace shall belong to."""
    gid_mappings: tuple[IdMapping, ...] = ()
    user_namespace: str = ""
    """Path of one that exists already, in place of a new one with these mappings."""
    dns_port: int = NO_NAME_SERVER
    """Open the name server's sockets in that namespace, on this port; `ANY_PORT` for any."""
    log: LogConfig | None = None
    runtime: tuple[str, ...] = ()
    """Program and arguments of the OCI runtime to use; empty for kedge's own."""


class ExecRequest(NamedTuple):
    """One more process inside a running container."""

    exec_id: str
    process: JsonObject
    """An OCI runtime-spec ``process`` object."""
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    terminal: bool = False
    ends_with_client: bool = False
    """Kill it, and what it started, when its client hangs up."""
    alone: bool = False
    """No other container is in the container's pid namespace."""


class CreatedInfo(NamedTuple):
    """A container whose init waits for the word to start."""

    pid: int
    created_mountpoints: tuple[str, ...]
    """Paths inside the container the runtime made because a mount needed them."""


class StartedInfo(NamedTuple):
    """A container that runs the user's program."""

    pid: int
    started_at_ns: int


class ExitStatus(NamedTuple):
    """How a process ended."""

    exit_code: int
    """The program's own code, or 128 plus the signal that ended it."""
    signal: int
    """The signal that ended it, 0 for none."""
    exited_at_ns: int
    oom_killed: bool = False


def encode_create(request: CreateRequest) -> JsonObject:
    """Return ``request`` as a JSON object; `parse_create` is the inverse."""
    rootfs: list[Json] = [encode_mount(mount) for mount in request.rootfs]
    return {
        "id": request.id,
        "bundle": request.bundle,
        "run_dir": request.run_dir,
        "cgroup_path": request.cgroup_path,
        "rootfs": rootfs,
        "terminal": request.terminal,
        "stdin": request.stdin,
        "stdin_once": request.stdin_once,
        "own_netns": request.own_netns,
        "uid_mappings": encode_mappings(request.uid_mappings),
        "user_namespace": request.user_namespace,
        "gid_mappings": encode_mappings(request.gid_mappings),
        "dns_port": request.dns_port,
        "log": None if request.log is None else encode_log(request.log),
        "runtime": list[Json](request.runtime),
    }


def parse_create(document: JsonObject) -> CreateRequest:
    """Return the request in ``document``.

    Raises:
        InvalidParameterError: A key is missing or of the wrong type.
    """
    where = "create"
    log = fields.optional_object(document, "log", where)
    return CreateRequest(
        id=fields.require_string(document, "id", where),
        bundle=fields.require_string(document, "bundle", where),
        run_dir=fields.require_string(document, "run_dir", where),
        cgroup_path=fields.require_string(document, "cgroup_path", where),
        rootfs=fields.read_list(document, "rootfs", where, parse_mount),
        terminal=flag(document, "terminal"),
        stdin=flag(document, "stdin"),
        stdin_once=flag(document, "stdin_once"),
        own_netns=flag(document, "own_netns"),
        uid_mappings=fields.read_list(document, "uid_mappings", where, parse_mapping),
        user_namespace=fields.require_string(document, "user_namespace", where),
        gid_mappings=fields.read_list(document, "gid_mappings", where, parse_mapping),
        dns_port=fields.require_integer(document, "dns_port", where, low=-1, high=65535),
        log=None if log is None else parse_log(log),
        runtime=fields.read_list(document, "runtime", where, fields.read_string_item),
    )


def encode_mappings(mappings: tuple[IdMapping, ...]) -> list[Json]:
    """Return ``mappings`` as JSON; `parse_mapping` reads one of them."""
    return [dict(each._asdict()) for each in mappings]


def parse_mapping(item: Json, path: str) -> IdMapping:
    """Return the mapping that ``item``, found at ``path`` of a message, describes."""
    document = fields.read_object(item, path)
    return IdMapping(*(fields.require_integer(document, key, path) for key in IdMapping._fields))


def encode_mount(mount: Mount) -> JsonObject:
    """Return ``mount`` as a JSON object; `parse_mount` is the inverse."""
    return {
        "type": mount.type,
        "source": mount.source,
        "options": list(mount.options),
        "destination": mount.destination,
    }


def parse_mount(item: Json, path: str) -> Mount:
    """Return the mount that ``item``, found at ``path`` of a message, describes."""
    document = fields.read_object(item, path)
    return Mount(
        type=fields.require_string(document, "type", path),
        source=fields.require_string(document, "source", path),
        options=fields.read_list(document, "options", path, fields.read_string_item),
        destination=fields.require_string(document, "destination", path),
    )


def encode_exec(request: ExecRequest) -> JsonObject:
    """Return ``request`` as a JSON object; `parse_exec` is the inverse."""
    return dict(request._asdict())


def parse_exec(document: JsonObject) -> ExecRequest:
    """Return the request in ``document``.

    Raises:
        InvalidParameterError: A key is missing or of the wrong type.
    """
    return ExecRequest(
        exec_id=fields.require_string(document, "exec_id", "exec"),
        process=fields.read_object(document.get("process"), "exec.process"),
        stdin=flag(document, "stdin"),
        stdout=flag(document, "stdout"),
        stderr=flag(document, "stderr"),
        terminal=flag(document, "terminal"),
        ends_with_client=flag(document, "ends_with_client"),
        alone=flag(document, "alone"),
    )


def encode_exit(status: ExitStatus) -> JsonObject:
    """Return ``status`` as a JSON object; `parse_exit` is the inverse."""
    return dict(status._asdict())


def parse_exit(document: JsonObject) -> ExitStatus:
    """Return the status in ``document``.

    Raises:
        InvalidParameterError: A key is missing or of the wrong type.
    """
    return ExitStatus(
        exit_code=integer(document, "exit_code"),
        signal=integer(document, "signal"),
        exited_at_ns=integer(document, "exited_at_ns"),
        oom_killed=flag(document, "oom_killed"),
    )


def encode_failure(error: Exception) -> JsonObject:
    """Return ``error`` so that `decode_failure` raises the same class and text elsewhere."""
    if isinstance(error, KedgeError):
        return {"class": type(error).__name__, "message": str(error)}
    return {"class": SystemFailureError.__name__, "message": one_line(error)}


def decode_failure(document: JsonObject) -> KedgeError:
    """Return the exception `encode_failure` was given; an unknown class is a system failure."""
    name = document.get("class")
    message = str(document.get("message"))
    found: object = getattr(errdefs, name, None) if isinstance(name, str) else None
    if isinstance(found, type) and issubclass(found, KedgeError):
        return found(message)
    return SystemFailureError(message)


def one_line(error: Exception) -> str:
    """Return what ``error`` says as one lower-case line with the path it is about."""
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror.lower()
        return f"{error.filename}: {text}" if error.filename else text
    return " ".join(str(error).split()) or type(error).__name__


def integer(document: JsonObject, key: str) -> int:
    """Return the integer that must be under ``key``."""
    return fields.require_integer(document, key, "message")


def text(document: JsonObject, key: str) -> str:
    """Return the string that must be under ``key``."""
    return fields.require_string(document, key, "message")


def flag(document: JsonObject, key: str) -> bool:
    """Return whether ``key`` is true; absent is false."""
    return bool(fields.optional_boolean(document, key, "message"))


def part(document: JsonObject, key: str) -> JsonObject:
    """Return the object under ``key``; absent is empty."""
    return fields.optional_object(document, key, "message") or {}
