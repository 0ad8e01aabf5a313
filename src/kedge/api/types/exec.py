"""Exec sessions on the wire. Vocabulary: moby `api/types/container/exec.go`."""

import msgspec
from msgspec import field

from kedge.api.types.wire import StrSlice, Wire, shown_list, shown_null


class ExecCreateRequest(Wire):
    """Body of ``POST /containers/{id}/exec``."""

    user: str = field(default_factory=str)
    privileged: bool = field(default_factory=bool)
    tty: bool = field(default_factory=bool)
    console_size: list[int] | None = None
    attach_stdin: bool = field(default_factory=bool)
    attach_stderr: bool = field(default_factory=bool)
    attach_stdout: bool = field(default_factory=bool)
    detach_keys: str = field(default_factory=str)
    env: list[str] = shown_list()
    working_dir: str = field(default_factory=str)
    cmd: StrSlice = field(default_factory=shown_null)


class ExecCreateResponse(Wire):
    """The id of a new exec session."""

    id: str = field(default_factory=str)


class ExecStartRequest(Wire):
    """Body of ``POST /exec/{id}/start``; console size is height, width."""

    detach: bool = field(default_factory=bool)
    tty: bool = field(default_factory=bool)
    console_size: list[int] | None = None


class ProcessConfig(msgspec.Struct, omit_defaults=True):
    """The process of an exec session; the one object whose keys Docker writes in lower case."""

    tty: bool = field(default_factory=bool)
    entrypoint: str = field(default_factory=str)
    arguments: list[str] = shown_list()
    privileged: bool | None = None
    user: str = ""


class ExecInspect(Wire):
    """``GET /exec/{id}/json``; the exit code is null while the process runs."""

    id: str = field(name="ID", default_factory=str)
    running: bool = field(default_factory=bool)
    exit_code: int | None = field(default_factory=shown_null)
    process_config: ProcessConfig = field(default_factory=ProcessConfig)
    open_stdin: bool = field(default_factory=bool)
    open_stderr: bool = field(default_factory=bool)
    open_stdout: bool = field(default_factory=bool)
    can_remove: bool = field(default_factory=bool)
    container_id: str = field(name="ContainerID", default_factory=str)
    detach_keys: str = field(default_factory=str)
    pid: int = field(default_factory=int)
