"""The eighteen instructions as plain data, before variables are expanded.

Vocabulary of the Dockerfile reference. A field holds the text of the file; what an instruction
does to the image is decided in `kedge.builder.lowering`.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from kedge.builder.dockerfile.heredocs import Heredoc


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an instruction stands in the file."""

    source: str
    """The logical line, trimmed."""
    line: int
    end_line: int
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """The command of RUN, CMD and ENTRYPOINT."""

    arguments: tuple[str, ...]
    is_shell: bool
    """Written as text, to be handed to the shell of the stage."""
    files: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One ``name=value`` of ENV or LABEL."""

    name: str
    value: str
    is_legacy: bool = False
    """Written ``name value``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """What HEALTHCHECK stores; durations in nanoseconds, 0 for the default."""

    test: tuple[str, ...]
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """``FROM [--platform=] base [AS name]``."""

    origin: Origin
    base: str
    name: str = ""
    platform: str = ""
    comment: str = ""
    """The documentation comment above it, for ``--call=targets``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgName:
    """One name of ARG; ``default`` is None when it has none."""

    name: str
    default: str | None
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg:
    """``ARG name[=default] ...``."""

    origin: Origin
    names: tuple[ArgName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """``ENV name=value ...``."""

    origin: Origin
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """``LABEL name=value ...``."""

    origin: Origin
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """``RUN [--mount=] [--network=] [--security=] [--device=] command``."""

    origin: Origin
    command: CommandLine
    mounts: tuple[str, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple["Device", ...] = ()
    flags_used: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """``RUN --device=name[,required]``."""

    name: str
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What COPY and ADD have in common."""

    sources: tuple[str, ...]
    contents: tuple[Heredoc, ...]
    """Here-documents; the name is the file's."""
    destination: str
    owner: str = ""
    mode: str = ""
    is_link: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """``COPY [--from=] [--parents] ... source... destination``."""

    origin: Origin
    transfer: Transfer
    from_: str = ""
    keeps_parents: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """``ADD [--checksum=] [--unpack] [--keep-git-dir] ... source... destination``."""

    origin: Origin
    transfer: Transfer
    checksum: str = ""
    keeps_git_dir: bool = False
    unpack: bool | None = None
    """None: local archives yes, downloads no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir:
    """``WORKDIR path``."""

    origin: Origin
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """``USER name[:group]``."""

    origin: Origin
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd:
    """``CMD command``."""

    origin: Origin
    command: CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint:
    """``ENTRYPOINT command``."""

    origin: Origin
    command: CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose:
    """``EXPOSE port[/protocol] ...``."""

    origin: Origin
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """``VOLUME path ...``."""

    origin: Origin
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """``SHELL ["program", "argument"...]``."""

    origin: Origin
    shell: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal:
    """``STOPSIGNAL signal``."""

    origin: Origin
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """``HEALTHCHECK [options] CMD command | NONE``."""

    origin: Origin
    check: HealthCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer:
    """``MAINTAINER name``."""

    origin: Origin
    maintainer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild:
    """``ONBUILD instruction``; ``expression`` is what the image configuration stores."""

    origin: Origin
    expression: str


Command: TypeAlias = (
    Arg
    | Env
    | Label
    | Run
    | Copy
    | Add
    | Workdir
    | User
    | Cmd
    | Entrypoint
    | Expose
    | Volume
    | Shell
    | StopSignal
    | Healthcheck
    | Maintainer
    | OnBuild
)
"""Every instruction that stands inside a stage."""

Instruction: TypeAlias = Command | From


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One FROM and what follows it."""

    start: From
    index: int
    commands: tuple[Command, ...] = field(default=())

    @property
    def label(self) -> str:
        """The stage's name, or ``stage-N``."""
        return self.start.name or f"stage-{self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """A whole file, understood."""

    stages: tuple[Stage, ...]
    global_args: tuple[Arg, ...]
    escape: str
    syntax: str = ""
    check: str = ""
    """The value of the directive ``check``."""
