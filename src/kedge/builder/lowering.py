"""Instructions to effects: each changes the configuration, or names one file-system operation.

Pure. Variables are expanded here, with the values that stood before the instruction. What the
grammar allows but this engine does not run is refused here with one line, never ignored.
"""

import dataclasses
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from kedge.builder.adding import is_fetched, remote_sources
from kedge.builder.arguments import argument_value
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.health import describe_health
from kedge.builder.dockerfile.heredocs import Heredoc, try_parse_heredoc
from kedge.builder.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Command,
    CommandLine,
    Copy,
    Entrypoint,
    Env,
    Expose,
    HealthCheck,
    Healthcheck,
    Label,
    Maintainer,
    OnBuild,
    Pair,
    Run,
    Shell,
    StopSignal,
    Transfer,
    User,
    Volume,
    Workdir,
)
from kedge.builder.dockerfile.mounts import MountKind, RunMount, parse_mount
from kedge.builder.dockerfile.ports import parse_exposed_ports
from kedge.builder.dockerfile.shell import ShellLexer
from kedge.builder.dockerfile.signals import is_signal
from kedge.builder.operations import (
    CopyOperation,
    InlineFile,
    MakeDirectory,
    Operation,
    RemoteSource,
    RunOperation,
)
from kedge.builder.state import StageState
from kedge.errdefs import ForbiddenError, NotSupportedError
from kedge.oci.image_spec import Healthcheck as HealthcheckConfig

NETWORK_HOST: Final = "network.host"
SECURITY_INSECURE: Final = "security.insecure"
ENTITLEMENTS: Final = (NETWORK_HOST, SECURITY_INSECURE)
SCRIPT_FOLDER: Final = "/dev/pipes"
_HEREDOC_LEXER: Final = ShellLexer(ignore_quotes=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What of the build, beside the stage, an instruction may see."""

    escape: str
    global_args: Mapping[str, str]
    build_args: Mapping[str, str]
    proxy: tuple[str, ...] = ()
    network: str = "default"
    hosts: tuple[str, ...] = ()
    entitlements: frozenset[str] = frozenset()
    """What RUN may ask for beyond its own container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What is left to do once the configuration has changed."""

    created_by: str
    """The history entry; empty for none."""
    operation: Operation | None = None


class _Lowering:
    """One instruction on its way into a state."""

    def __init__(self, state: StageState, scope: Scope) -> None:
        self.state = state
        self.scope = scope
        self.lexer = ShellLexer(escape=scope.escape)
        self.values = state.variables()

    def expand(self, text: str) -> str:
        return no_nul(self.lexer.word(text, self.values))


def no_nul(text: str) -> str:
    """Return ``text``, which the kernel could not take with a NUL in it.

    Raises:
        DockerfileError: It holds one.
    """
    if "\0" in text:
        raise DockerfileError("an argument holds a NUL byte")
    return text


def lower(command: Command, state: StageState, scope: Scope) -> Effect:
    """Apply ``command`` to ``state`` and return what is left to do on the file system.

    Raises:
        DockerfileError: A variable, path, port, signal or mount is wrong; with the line.
        NotSupportedError: This engine does not run it; with the line.
        ForbiddenError: It needs an entitlement the build was not given; with the line.
    """
    try:
        return _lower(command, _Lowering(state, scope))
    except DockerfileError as error:
        raise error.at(command.origin.line) from None
    except (NotSupportedError, ForbiddenError) as error:
        raise type(error)(f"dockerfile line {command.origin.line}: {error}") from None


def _lower(command: Command, now: _Lowering) -> Effect:  # noqa: C901 - one case each
    match command:
        case Arg():
            return _arg(command, now)
        case Env():
            return _env(command, now)
        case Label():
            return _label(command, now)
        case Run():
            return _run(command, now)
        case Copy() | Add():
            return _copy(command, now)
        case Workdir():
            return _workdir(command, now)
        case User():
            user = now.expand(command.user)
            now.state.change(user=user)
            return Effect(created_by=f"USER {user}")
        case Cmd():
            return _cmd(command, now)
        case Entrypoint():
            return _entrypoint(command, now)
        case Expose():
            return _expose(command, now)
        case Volume():
            return _volume(command, now)
        case Shell():
            now.state.change(shell=list(command.shell))
            return Effect(created_by=f"SHELL [{' '.join(command.shell)}]")
        case StopSignal():
            return _stop_signal(command, now)
        case Healthcheck():
            return _healthcheck(command.check, now)
        case Maintainer():
            now.state.author = command.maintainer
            return Effect(created_by=f"MAINTAINER {command.maintainer}")
        case OnBuild():
            triggers = [*now.state.config.on_build, command.expression]
            now.state.change(on_build=triggers)
            return Effect(created_by="")
        case _:
            assert_never(command)


def _arg(command: Arg, now: _Lowering) -> Effect:
    words: list[str] = []
    for name in command.names:
        value = argument_value(name.name, name.default, now.lexer, now.values, now.scope.build_args)
        if value is None:
            value = now.scope.global_args.get(name.name)
        now.state.args[name.name] = value
        words.append(name.name if value is None else f"{name.name}={value}")
        now.values = now.state.variables()
    return Effect(created_by=f"ARG {' '.join(words)}")


def _expanded_pairs(pairs: tuple[Pair, ...], now: _Lowering) -> list[tuple[str, str]]:
    return [(now.expand(pair.name), now.expand(pair.value)) for pair in pairs]


def _env(command: Env, now: _Lowering) -> Effect:
    pairs = _expanded_pairs(command.pairs, now)
    env = list(now.state.config.env)
    for name, value in pairs:
        set_variable(env, name, value)
    now.state.change(env=env)
    return Effect(created_by=" ".join(["ENV", *(f"{name}={value}" for name, value in pairs)]))


def set_variable(env: list[str], name: str, value: str) -> None:
    """Set ``name`` in a list of ``NAME=value``, in place where it has one."""
    for index, item in enumerate(env):
        if item.partition("=")[0] == name:
            env[index] = f"{name}={value}"
            return
    env.append(f"{name}={value}")


def _label(command: Label, now: _Lowering) -> Effect:
    pairs = _expanded_pairs(command.pairs, now)
    now.state.change(labels={**now.state.config.labels, **dict(pairs)})
    return Effect(created_by=" ".join(["LABEL", *(f"{name}={value}" for name, value in pairs)]))


def _run(command: Run, now: _Lowering) -> Effect:
    is_insecure = command.security == "insecure"
    if is_insecure:
        _need(SECURITY_INSECURE, "RUN --security=insecure", now)
    if command.devices:
        raise NotSupportedError("RUN --device is not supported; remove the flag")
    mounts = tuple(_mount(text, now) for text in command.mounts)
    args, script = _run_args(command.command)
    if command.command.is_shell:
        args = (*now.state.shell, " ".join(args))
    if not args:
        raise DockerfileError("RUN has no command")
    no_nul("".join(args))
    state = now.state
    env = list(state.config.env)
    names = {item.partition("=")[0] for item in env}
    env += [
        f"{name}={value}"
        for name, value in state.args.items()
        if value is not None and name not in names
    ]
    network = command.network if command.network != "default" else now.scope.network
    if network == "host" != now.scope.network:
        _need(NETWORK_HOST, "RUN --network=host", now)
    operation = RunOperation(
        args=args,
        env=tuple(env),
        cwd=state.config.working_dir or "/",
        user=state.config.user,
        network=network,
        is_insecure=is_insecure,
        shell_text=" ".join(args),
        mounts=mounts,
        script=script.text if script else "",
        script_name=script.name if script else "",
        proxy=now.scope.proxy,
        hosts=now.scope.hosts,
    )
    prefix = [f"|{len(state.args)}"] if state.args else []
    prefix += [f"{name}={now.values.get(name, '')}" for name in state.args]
    created_by = " ".join(["RUN", *prefix, *args, "# buildkit"])
    return Effect(created_by=created_by, operation=operation)


def _need(entitlement: str, what: str, now: _Lowering) -> None:
    if entitlement not in now.scope.entitlements:
        raise ForbiddenError(f"{what} is not allowed: build with --allow {entitlement}")


def _mount(text: str, now: _Lowering) -> RunMount:
    mount = parse_mount(text, now.expand)
    owned = (mount.mode, mount.uid, mount.gid)
    if mount.kind is MountKind.SSH and owned != (None, None, None):
        raise NotSupportedError(
            "RUN --mount=type=ssh: mode, uid and gid are not supported: the socket is the agent's "
            "own; remove them"
        )
    if not mount.target:
        return mount
    target = _normal(posixpath.join("/", now.state.config.working_dir, mount.target))
    if target == "/":
        raise DockerfileError(f"invalid mount target '{mount.target}'")
    return dataclasses.replace(mount, target=target)


def _run_args(command: CommandLine) -> tuple[tuple[str, ...], Heredoc | None]:
    """Return the words to run, and the script they run when a here-document is one."""
    if not command.files:
        return command.arguments, None
    text = command.arguments[0]
    first = command.files[0]
    if try_parse_heredoc(text) is None:
        bodies = "".join(f"\n{file.content}{file.name}" for file in command.files)
        return (text + bodies,), None
    if first.text.startswith("#!"):
        return (f"{SCRIPT_FOLDER}/{first.name}",), first
    return (first.text,), None


def _copy(command: Copy | Add, now: _Lowering) -> Effect:
    transfer = command.transfer
    name = "COPY" if isinstance(command, Copy) else "ADD"
    sources = tuple(now.expand(source) for source in transfer.sources)
    remotes: tuple[RemoteSource, ...] = ()
    if isinstance(command, Add):
        remotes = remote_sources(command, sources, now.expand(command.checksum))
    destination = now.expand(transfer.destination)
    into_directory = destination.endswith("/") or posixpath.basename(destination) in ("", ".", "..")
    absolute = posixpath.join("/", now.state.config.working_dir, destination)
    owner = now.expand(transfer.owner)
    mode = now.expand(transfer.mode)
    operation = CopyOperation(
        instruction=name,
        sources=tuple(source for source in sources if not is_fetched(command, source)),
        remotes=remotes,
        unpacks_remotes=isinstance(command, Add) and command.unpack is True,
        files=tuple(_inline_file(heredoc, now) for heredoc in transfer.contents),
        destination=_normal(absolute),
        into_directory=into_directory,
        from_=command.from_ if isinstance(command, Copy) else "",
        owner=owner,
        mode=mode,
        exclude=tuple(now.expand(pattern) for pattern in transfer.exclude),
        keeps_parents=isinstance(command, Copy) and command.keeps_parents,
        unpacks=isinstance(command, Add) and command.unpack is not False,
        is_link=transfer.is_link,
    )
    words = [name, *_copy_flags(transfer, owner, mode, parents=operation.keeps_parents), *sources]
    words += [f"<<{heredoc.name}" for heredoc in transfer.contents]
    return Effect(created_by=" ".join([*words, destination, "# buildkit"]), operation=operation)


def _copy_flags(transfer: Transfer, owner: str, mode: str, *, parents: bool) -> list[str]:
    flags = ["--parents"] if parents else []
    flags += [f"--chown={owner}"] if owner else []
    flags += [f"--chmod={mode}"] if mode else []
    return flags + (["--link"] if transfer.is_link else [])


def _inline_file(heredoc: Heredoc, now: _Lowering) -> InlineFile:
    text = heredoc.text
    if heredoc.expand:
        text = _HEREDOC_LEXER.word(text, now.values)
    return InlineFile(name=heredoc.name, content=text)


def _normal(path: str) -> str:
    normal = posixpath.normpath(path)
    return normal[1:] if normal.startswith("//") else normal


def _workdir(command: Workdir, now: _Lowering) -> Effect:
    path = now.expand(command.path)
    if not path:
        raise DockerfileError("WORKDIR expands to nothing")
    absolute = _normal(posixpath.join("/", now.state.config.working_dir, path))
    now.state.change(working_dir=absolute)
    operation = MakeDirectory(path=absolute, owner=now.state.config.user)
    return Effect(
        created_by=f"WORKDIR {absolute}", operation=operation if absolute != "/" else None
    )


def _command_words(command: CommandLine, state: StageState) -> list[str]:
    if command.is_shell:
        return [*state.shell, " ".join(command.arguments)] if command.arguments else []
    return list(command.arguments)


def _cmd(command: Cmd, now: _Lowering) -> Effect:
    words = _command_words(command.command, now.state)
    now.state.change(cmd=words, args_escaped=True)
    now.state.cmd_is_set = True
    return Effect(created_by=f"CMD {_quoted(words)}")


def _entrypoint(command: Entrypoint, now: _Lowering) -> Effect:
    words = _command_words(command.command, now.state)
    now.state.change(entrypoint=words)
    if not now.state.cmd_is_set:
        now.state.change(cmd=[])
    return Effect(created_by=f"ENTRYPOINT {_quoted(words)}")


def _quoted(words: list[str]) -> str:
    """Return ``words`` as Go prints a list of quoted strings."""
    escaped = (
        word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        for word in words
    )
    return "[" + " ".join(f'"{word}"' for word in escaped) + "]"


def _expose(command: Expose, now: _Lowering) -> Effect:
    words = [part for port in command.ports for part in now.lexer.words(port, now.values)]
    ports = parse_exposed_ports(words)
    exposed = {**now.state.config.exposed_ports, **{port: {} for port in ports}}
    now.state.change(exposed_ports=dict(sorted(exposed.items())))
    return Effect(created_by=f"EXPOSE [{' '.join(ports)}]")


def _volume(command: Volume, now: _Lowering) -> Effect:
    paths = [now.expand(path) for path in command.paths]
    if "" in paths:
        raise DockerfileError("VOLUME specified can not be an empty string")
    volumes = {**now.state.config.volumes, **{path: {} for path in paths}}
    now.state.change(volumes=dict(sorted(volumes.items())))
    return Effect(created_by=f"VOLUME [{' '.join(paths)}]")


def _stop_signal(command: StopSignal, now: _Lowering) -> Effect:
    text = now.expand(command.signal)
    if not is_signal(text):
        raise DockerfileError(f"invalid signal: {text}")
    now.state.change(stop_signal=text)
    return Effect(created_by=f"STOPSIGNAL {text}")


def _healthcheck(check: HealthCheck, now: _Lowering) -> Effect:
    config = HealthcheckConfig(
        test=list(check.test),
        interval=check.interval_ns,
        timeout=check.timeout_ns,
        start_period=check.start_period_ns,
        start_interval=check.start_interval_ns,
        retries=check.retries,
    )
    now.state.change(healthcheck=config)
    return Effect(created_by=f"HEALTHCHECK {describe_health(check)}")
