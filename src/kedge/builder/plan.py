"""The plan of a build: which stages are needed, what each starts from, in which order.

Pure. A named context stands before a stage or image of its name. Only FROM and ``--from`` decide
which stages are needed, and both can be known without running anything; what each instruction
does is decided when its stage is built.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from kedge.builder.arguments import global_scope, platform_args
from kedge.builder.contexts import context_key
from kedge.builder.dockerfile.errors import DockerfileError, suggestion
from kedge.builder.dockerfile.instructions import Command, Copy, Dockerfile, Run, Stage
from kedge.builder.dockerfile.mounts import parse_mount
from kedge.builder.dockerfile.shell import ShellLexer
from kedge.errdefs import InvalidParameterError
from kedge.oci.platforms import Platform, parse_platform

SCRATCH: Final = "scratch"


class SourceKind(Enum):
    """What a FROM or ``--from`` names."""

    SCRATCH = auto()
    STAGE = auto()
    IMAGE = auto()
    CONTEXT = auto()


@dataclass(frozen=True, slots=True)
class Source:
    """An earlier stage, an image, a named context, or nothing at all."""

    kind: SourceKind
    stage: int = -1
    image: str = ""
    context: str = ""
    """Which of the request's named contexts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage, its FROM resolved."""

    index: int
    name: str
    """Empty for a stage without ``AS``."""
    text: str
    """The FROM line."""
    line: int
    source: Source
    platform: Platform
    commands: tuple[Command, ...]
    needs: tuple[int, ...]
    """The stages that must be built before this one."""

    @property
    def label(self) -> str:
        """The stage's name, or ``stage-N``."""
        return self.name or f"stage-{self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """Everything that can be decided before the first step."""

    stages: tuple[StagePlan, ...]
    target: int
    order: tuple[int, ...]
    """The needed stages, each after what it needs."""
    scope: Mapping[str, str]
    """Global arguments."""
    predefined: Mapping[str, str]
    contexts: tuple[str, ...] = ()
    """The names of the named contexts."""

    def find_stage(self, name: str, *, user: int) -> Source:
        """Return the stage, image or context that ``--from=name`` in stage ``user`` means.

        Raises:
            DockerfileError: It names the stage itself or a later one.
        """
        names = _Names([stage.name for stage in self.stages], self.contexts)
        return names.find(name, user, self.stages[user].platform)


def plan_build(
    dockerfile: Dockerfile,
    *,
    target: str,
    build_args: Mapping[str, str],
    build_platform: Platform,
    target_platform: Platform,
    contexts: Iterable[str] = (),
) -> BuildPlan:
    """Return the plan for ``target`` (a name or an index; empty for the last stage).

    Args:
        dockerfile: The stages.
        target: Which of them to build.
        build_args: Values of arguments.
        build_platform: What this machine is.
        target_platform: What the image is for.
        contexts: The names of the named contexts.

    Raises:
        DockerfileError: The target or a stage does not exist, a FROM expands to nothing or names
            an unknown platform.
    """
    names = [stage.start.name for stage in dockerfile.stages]
    given = tuple(contexts)
    known = _Names(names, given)
    predefined = platform_args(build_platform, target_platform, target or names[-1])
    scope = global_scope(dockerfile, build_args, predefined)
    lexer = ShellLexer(escape=dockerfile.escape)
    stages = tuple(
        _plan_stage(stage, known, lexer, scope, target_platform) for stage in dockerfile.stages
    )
    index = _target_index(target, names)
    return BuildPlan(
        stages=stages,
        target=index,
        order=_order(stages, index),
        scope=scope,
        predefined=predefined,
        contexts=given,
    )


def _target_index(target: str, names: list[str]) -> int:
    if not target:
        return len(names) - 1
    if target.lower() in names:
        return _last_index(names, target.lower())
    if target.isascii() and target.isdecimal() and int(target) < len(names):
        return int(target)
    raise DockerfileError(
        f'target stage "{target}" could not be found{suggestion(target, filter(None, names))}'
    )


def _last_index(names: list[str], name: str) -> int:
    return len(names) - 1 - names[::-1].index(name)


def _plan_stage(
    stage: Stage,
    names: "_Names",
    lexer: ShellLexer,
    scope: Mapping[str, str],
    target_platform: Platform,
) -> StagePlan:
    start = stage.start
    try:
        base = _base_name(start.base, lexer, scope)
        platform = _platform(start.platform, lexer, scope, target_platform)
        replaced = names.context(start.name, platform) if start.name else None
        source = replaced or names.base(base, stage.index, platform)
        commands = () if replaced else stage.commands
        sources = [source, *_command_sources(stage, commands, names, platform)]
    except DockerfileError as error:
        raise error.at(start.origin.line) from None
    needs = {each.stage for each in sources if each.kind is SourceKind.STAGE}
    return StagePlan(
        index=stage.index,
        name=start.name,
        text=start.origin.source,
        line=start.origin.line,
        source=source,
        platform=platform,
        commands=commands,
        needs=tuple(sorted(needs)),
    )


def _base_name(text: str, lexer: ShellLexer, scope: Mapping[str, str]) -> str:
    base = lexer.word(text, scope)
    if not base:
        raise DockerfileError(f"base name ({text}) should not be blank")
    return base


def _platform(
    text: str, lexer: ShellLexer, scope: Mapping[str, str], target_platform: Platform
) -> Platform:
    if not text:
        return target_platform
    expanded = lexer.word(text, scope)
    if not expanded:
        raise DockerfileError(f"empty platform value from expression {text}")
    try:
        return parse_platform(expanded)
    except InvalidParameterError as error:
        raise DockerfileError(f"failed to parse platform {text}: {error}") from None


def _command_sources(
    stage: Stage, commands: tuple[Command, ...], names: "_Names", platform: Platform
) -> list[Source]:
    found: list[Source] = []
    for command in commands:
        try:
            found += [names.find(name, stage.index, platform) for name in from_names(command)]
        except DockerfileError as error:
            raise error.at(command.origin.line) from None
    return found


def from_names(command: Command) -> list[str]:
    """Return what the ``--from`` and mount ``from=`` of an instruction name."""
    if isinstance(command, Copy):
        return [command.from_] if command.from_ else []
    if isinstance(command, Run):
        mounts = (parse_mount(text, keep_nonempty) for text in command.mounts)
        return [mount.from_ for mount in mounts if mount.from_]
    return []


def keep_nonempty(value: str) -> str:
    """Stand in for the expansion of a mount's value before there is anything to expand it with."""
    # Variables are expanded later; until then a number or path may not be checkable.
    return "0" if "$" in value else value


@dataclass(frozen=True, slots=True)
class _Names:
    """What a name in FROM or ``--from`` can mean."""

    stages: list[str]
    contexts: tuple[str, ...]

    def context(self, name: str, platform: Platform) -> Source | None:
        key = context_key(name, platform, self.contexts)
        return Source(SourceKind.CONTEXT, context=key) if key else None

    def base(self, base: str, user: int, platform: Platform) -> Source:
        """Return what FROM means in stage ``user``."""
        if base in self.stages[:user]:
            return Source(SourceKind.STAGE, stage=_last_index(self.stages[:user], base))
        if base == SCRATCH:
            return Source(SourceKind.SCRATCH)
        return self.context(base, platform) or Source(SourceKind.IMAGE, image=base)

    def find(self, name: str, user: int, platform: Platform) -> Source:
        """Return what ``--from`` means in stage ``user``."""
        lowered = name.lower()
        earlier = self.stages[:user]
        if lowered in earlier:
            return Source(SourceKind.STAGE, stage=_last_index(earlier, lowered))
        if name.isascii() and name.isdecimal():
            if int(name) >= user:
                raise DockerfileError(
                    f"invalid stage index {name}: only earlier stages can be used"
                )
            return Source(SourceKind.STAGE, stage=int(name))
        replaced = self.context(name, platform)
        if replaced is not None:
            return replaced
        if lowered in self.stages:
            raise DockerfileError(
                f'cannot copy from stage "{name}", it needs to be defined before current stage '
                f'"{self.stages[user] or f"stage-{user}"}"'
            )
        if lowered == SCRATCH:
            return Source(SourceKind.SCRATCH)
        return Source(SourceKind.IMAGE, image=name)


def _order(stages: tuple[StagePlan, ...], target: int) -> tuple[int, ...]:
    needed: set[int] = set()
    waiting = [target]
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            waiting += stages[index].needs
    # Only earlier stages can be needed, so ascending order builds each after what it needs.
    return tuple(sorted(needed))
