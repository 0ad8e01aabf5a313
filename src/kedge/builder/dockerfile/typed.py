"""Syntax nodes to typed instructions and stages, with the messages of BuildKit's front end."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from kedge.builder.dockerfile.devices import parse_device
from kedge.builder.dockerfile.directives import detect_syntax, first_word
from kedge.builder.dockerfile.errors import DockerfileError, suggestion
from kedge.builder.dockerfile.flags import FlagKind, Flags, parse_flags
from kedge.builder.dockerfile.health import HEALTH_FLAGS, parse_health
from kedge.builder.dockerfile.heredocs import (
    Heredoc,
    join_operators,
    try_parse_heredoc,
)
from kedge.builder.dockerfile.instructions import (
    Add,
    Arg,
    ArgName,
    Cmd,
    Command,
    CommandLine,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Origin,
    Pair,
    Run,
    Shell,
    Stage,
    StopSignal,
    Transfer,
    User,
    Volume,
    Workdir,
)
from kedge.builder.dockerfile.mounts import parse_mount
from kedge.builder.dockerfile.syntax import INSTRUCTIONS, Node, parse_document
from kedge.lib.spaces import SPACES

_TRANSFER_FLAGS: Final = {
    "chown": FlagKind.TEXT,
    "chmod": FlagKind.TEXT,
    "link": FlagKind.SWITCH,
    "exclude": FlagKind.LIST,
}
_FLAGS: Final[dict[str, dict[str, FlagKind]]] = {
    "ADD": {
        **_TRANSFER_FLAGS,
        "keep-git-dir": FlagKind.SWITCH,
        "checksum": FlagKind.TEXT,
        "unpack": FlagKind.SWITCH,
    },
    "COPY": {**_TRANSFER_FLAGS, "from": FlagKind.TEXT, "parents": FlagKind.SWITCH},
    "FROM": {"platform": FlagKind.TEXT},
    "HEALTHCHECK": HEALTH_FLAGS,
    "RUN": {
        "mount": FlagKind.LIST,
        "network": FlagKind.TEXT,
        "security": FlagKind.TEXT,
        "device": FlagKind.LIST,
    },
}
_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9-_.]*")
_NETWORKS: Final = ("default", "none", "host")
_SECURITIES: Final = ("sandbox", "insecure")


def parse_instruction(node: Node) -> Instruction:
    """Return the typed form of ``node``.

    Raises:
        DockerfileError: The instruction, a flag or the number of arguments is wrong.
    """
    parse = _PARSERS.get(node.name)
    if parse is None:
        nearest = suggestion(node.keyword, INSTRUCTIONS)
        raise DockerfileError(f"unknown instruction: {node.keyword}{nearest}", line=node.start_line)
    try:
        return parse(node, parse_flags(node.flags, _FLAGS.get(node.name, {})))
    except DockerfileError as error:
        raise error.at(node.start_line) from None


def parse_trigger(expression: str) -> Command:
    """Return the instruction that an image's ``OnBuild`` entry holds.

    Raises:
        DockerfileError: It is no instruction that may be a trigger.
    """
    document = parse_document(expression)
    instruction = parse_instruction(document.nodes[0])
    if len(document.nodes) != 1 or isinstance(instruction, From | OnBuild | Maintainer):
        raise DockerfileError(f"not allowed as an ONBUILD trigger: {expression}")
    return instruction


def parse_dockerfile(text: str) -> Dockerfile:
    """Return the stages of a whole Dockerfile.

    Raises:
        DockerfileError: The file cannot be understood; the message names the line.
    """
    document = parse_document(text)
    stages: list[Stage] = []
    global_args: list[Arg] = []
    for node in document.nodes:
        instruction = parse_instruction(node)
        if isinstance(instruction, From):
            stages.append(Stage(start=instruction, index=len(stages)))
        elif stages:
            last = stages[-1]
            commands = (*last.commands, instruction)
            stages[-1] = Stage(start=last.start, index=last.index, commands=commands)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            raise DockerfileError("no build stage in current context", line=node.start_line)
    if not stages:
        raise DockerfileError("dockerfile contains no stages to build")
    syntax = detect_syntax(text)
    return Dockerfile(
        stages=tuple(stages),
        global_args=tuple(global_args),
        escape=document.escape,
        syntax=first_word(syntax.value) if syntax else "",
        check=next((each.value for each in document.directives if each.name == "check"), ""),
    )


def _origin(node: Node) -> Origin:
    return Origin(
        source=node.source.strip(SPACES),
        line=node.start_line,
        end_line=node.end_line,
        comments=node.comments,
    )


def _only_argument(node: Node) -> str:
    if len(node.arguments) != 1:
        raise DockerfileError(f"{node.name} requires exactly one argument")
    return node.arguments[0]


def _some_arguments(node: Node) -> tuple[str, ...]:
    if not node.arguments:
        raise DockerfileError(f"{node.name} requires at least one argument")
    return node.arguments


def _comment_for(name: str, comments: tuple[str, ...]) -> str:
    prefix = f"{name} "
    return next((line[len(prefix) :] for line in comments if name and line.startswith(prefix)), "")


def _from(node: Node, flags: Flags) -> From:
    words = node.arguments
    name = ""
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise DockerfileError(
                f'invalid name for build stage: "{words[2]}", name can\'t start with a number '
                "or contain symbols"
            )
    elif len(words) != 1:
        raise DockerfileError("FROM requires either one or three arguments")
    return From(
        origin=_origin(node),
        base=words[0],
        name=name,
        platform=flags.text("platform"),
        comment=_comment_for(name, node.comments),
    )


def _arg(node: Node, _flags: Flags) -> Arg:
    names: list[ArgName] = []
    for word in _some_arguments(node):
        name, separator, default = word.partition("=")
        if not name:
            raise DockerfileError("ARG names can not be blank")
        comment = _comment_for(name, node.comments)
        names.append(ArgName(name=name, default=default if separator else None, comment=comment))
    return Arg(origin=_origin(node), names=tuple(names))


def _pairs(node: Node) -> tuple[Pair, ...]:
    words = _some_arguments(node)
    pairs: list[Pair] = []
    for name, value, separator in zip(words[::3], words[1::3], words[2::3], strict=True):
        if not name:
            raise DockerfileError(f"{node.name} names can not be blank")
        pairs.append(Pair(name=name, value=value, is_legacy=not separator))
    return tuple(pairs)


def _env(node: Node, _flags: Flags) -> Env:
    return Env(origin=_origin(node), pairs=_pairs(node))


def _label(node: Node, _flags: Flags) -> Label:
    return Label(origin=_origin(node), pairs=_pairs(node))


def _transfer(node: Node, flags: Flags) -> Transfer:
    words = list(node.arguments) if node.is_json else join_operators(node.arguments)
    if len(words) < 2:
        raise DockerfileError(
            f"{node.name} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    by_name = {heredoc.name: heredoc for heredoc in node.heredocs}
    sources: list[str] = []
    contents: list[Heredoc] = []
    for word in words[:-1]:
        announced = None if node.is_json else try_parse_heredoc(word)
        if announced is not None and announced.name in by_name:
            contents.append(by_name[announced.name])
        else:
            sources.append(word)
    destination = words[-1]
    if not node.is_json and try_parse_heredoc(destination) is not None:
        raise DockerfileError(f"{node.name} cannot accept a heredoc as a destination")
    return Transfer(
        sources=tuple(sources),
        contents=tuple(contents),
        destination=destination,
        owner=flags.text("chown"),
        mode=flags.text("chmod"),
        is_link=flags.switch("link"),
        exclude=flags.list("exclude"),
    )


def _copy(node: Node, flags: Flags) -> Copy:
    return Copy(
        origin=_origin(node),
        transfer=_transfer(node, flags),
        from_=flags.text("from"),
        keeps_parents=flags.switch("parents"),
    )


def _add(node: Node, flags: Flags) -> Add:
    return Add(
        origin=_origin(node),
        transfer=_transfer(node, flags),
        checksum=flags.text("checksum"),
        keeps_git_dir=flags.switch("keep-git-dir"),
        unpack=flags.switch("unpack") if "unpack" in flags.values else None,
    )


def _command_line(node: Node) -> CommandLine:
    return CommandLine(arguments=node.arguments, is_shell=not node.is_json, files=node.heredocs)


def _run(node: Node, flags: Flags) -> Run:
    mounts = flags.list("mount")
    for mount in mounts:
        if "$" not in mount:
            parse_mount(mount)
    network = _one_of(flags.text("network", "default"), _NETWORKS, "network mode")
    security = _one_of(flags.text("security", "sandbox"), _SECURITIES, "security mode")
    return Run(
        origin=_origin(node),
        command=_command_line(node),
        mounts=mounts,
        network=network,
        security=security,
        devices=tuple(parse_device(each) for each in flags.list("device")),
        flags_used=flags.used,
    )


def _one_of(value: str, valid: tuple[str, ...], what: str) -> str:
    if value not in valid:
        raise DockerfileError(f"invalid {what}: {value}{suggestion(value, valid)}")
    return value


def _workdir(node: Node, _flags: Flags) -> Workdir:
    return Workdir(origin=_origin(node), path=_only_argument(node))


def _user(node: Node, _flags: Flags) -> User:
    return User(origin=_origin(node), user=_only_argument(node))


def _cmd(node: Node, _flags: Flags) -> Cmd:
    return Cmd(origin=_origin(node), command=_command_line(node))


def _entrypoint(node: Node, _flags: Flags) -> Entrypoint:
    return Entrypoint(origin=_origin(node), command=_command_line(node))


def _expose(node: Node, _flags: Flags) -> Expose:
    return Expose(origin=_origin(node), ports=tuple(sorted(_some_arguments(node))))


def _volume(node: Node, _flags: Flags) -> Volume:
    paths = tuple(path.strip(SPACES) for path in _some_arguments(node))
    if "" in paths:
        raise DockerfileError("VOLUME specified can not be an empty string")
    return Volume(origin=_origin(node), paths=paths)


def _shell(node: Node, _flags: Flags) -> Shell:
    if node.arguments and not node.is_json:
        raise DockerfileError(f"SHELL requires the arguments to be in JSON form: {node.source}")
    return Shell(origin=_origin(node), shell=_some_arguments(node))


def _stop_signal(node: Node, _flags: Flags) -> StopSignal:
    return StopSignal(origin=_origin(node), signal=_only_argument(node))


def _healthcheck(node: Node, flags: Flags) -> Healthcheck:
    check = parse_health(_some_arguments(node), flags, is_json=node.is_json)
    return Healthcheck(origin=_origin(node), check=check)


def _maintainer(node: Node, _flags: Flags) -> Maintainer:
    return Maintainer(origin=_origin(node), maintainer=_only_argument(node))


def _onbuild(node: Node, _flags: Flags) -> OnBuild:
    if node.trigger is None:
        raise DockerfileError("ONBUILD requires at least one argument")
    name = node.trigger.name
    if name == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if name in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{name} isn't allowed as an ONBUILD trigger")
    parse_instruction(
        replace(
            node.trigger,
            heredocs=node.heredocs,
            start_line=node.start_line,
            end_line=node.end_line,
        )
    )
    expression = node.trigger.source
    for heredoc in node.heredocs:
        expression += f"\n{heredoc.content}{heredoc.name}"
    return OnBuild(origin=_origin(node), expression=expression)


_PARSERS: Final[dict[str, Callable[[Node, Flags], Instruction]]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
