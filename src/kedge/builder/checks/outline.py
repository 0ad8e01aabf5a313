"""``--call=outline`` and ``--call=targets``: what a Dockerfile offers, as data.

The argument values are those the build would see. A description is the comment above an ARG or
FROM that begins with its name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kedge.builder.arguments import argument_value
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.instructions import Arg, Dockerfile, Origin, Run
from kedge.builder.dockerfile.mounts import MountKind, RunMount, parse_mount
from kedge.builder.dockerfile.shell import ShellLexer
from kedge.builder.plan import BuildPlan, StagePlan

_DEFAULT_AGENT: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something stands in the file, in lines from 1."""

    line: int
    end_line: int

    @classmethod
    def of(cls, origin: Origin) -> "Place":
        """Return the lines of an instruction."""
        return cls(line=origin.line, end_line=origin.end_line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """A build argument."""

    name: str
    description: str
    value: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A secret, an ssh agent, or (never required) a cache."""

    name: str
    is_required: bool
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What building one target can be given."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    secrets: tuple[Needed, ...]
    agents: tuple[Needed, ...]
    caches: tuple[Needed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A stage."""

    name: str
    description: str
    is_default: bool
    base: str
    platform: str
    place: Place


def list_targets(dockerfile: Dockerfile) -> tuple[Target, ...]:
    """Return all stages, in order; the last one is built by default."""
    last = len(dockerfile.stages) - 1
    return tuple(
        Target(
            name=stage.start.name,
            description=stage.start.comment,
            is_default=stage.index == last,
            base=stage.start.base,
            platform=stage.start.platform,
            place=Place.of(stage.start.origin),
        )
        for stage in dockerfile.stages
    )


@dataclass(slots=True, kw_only=True)
class _Gathered:
    arguments: dict[str, Argument] = field(default_factory=dict[str, Argument])
    needed: dict[MountKind, dict[str, Needed]] = field(
        default_factory=dict[MountKind, dict[str, Needed]]
    )

    def add(self, kind: MountKind, needed: Needed) -> None:
        known = self.needed.setdefault(kind, {})
        before = known.get(needed.name)
        if before is None or (needed.is_required and not before.is_required):
            known[needed.name] = needed

    def all(self, kind: MountKind) -> tuple[Needed, ...]:
        return tuple(self.needed.get(kind, {}).values())


def outline(dockerfile: Dockerfile, plan: BuildPlan, build_args: Mapping[str, str]) -> Outline:
    """Return what building the target of ``plan`` can be given, its stages and theirs included.

    Raises:
        DockerfileError: A default or a mount cannot be understood.
    """
    lexer = ShellLexer(escape=dockerfile.escape)
    gathered = _Gathered()
    used = _names_in_from(dockerfile, plan, lexer)
    for arg in dockerfile.global_args:
        for name in arg.names:
            if name.name in used:
                gathered.arguments[name.name] = Argument(
                    name=name.name,
                    description=name.comment,
                    value=plan.scope.get(name.name, ""),
                    place=Place.of(arg.origin),
                )
    by_stage: dict[int, dict[str, str]] = {}
    for index in plan.order:
        # A stage that starts from another one sees the arguments of that.
        values = by_stage[index] = dict(by_stage.get(plan.stages[index].source.stage, {}))
        for argument in _arguments(plan, index, lexer, values, build_args):
            gathered.arguments[argument.name] = argument
        for mount, place in _mounts(plan.stages[index], lexer, values):
            gathered.add(mount.kind, _needed(mount, place))
    stage = plan.stages[plan.target]
    return Outline(
        name=stage.name,
        description=dockerfile.stages[plan.target].start.comment,
        arguments=tuple(gathered.arguments.values()),
        secrets=gathered.all(MountKind.SECRET),
        agents=gathered.all(MountKind.SSH),
        caches=gathered.all(MountKind.CACHE),
    )


def _names_in_from(dockerfile: Dockerfile, plan: BuildPlan, lexer: ShellLexer) -> set[str]:
    names: set[str] = set()
    for index in plan.order:
        start = dockerfile.stages[index].start
        for text in (start.base, start.platform):
            try:
                names |= lexer.expand(text, plan.scope).matched
            except DockerfileError:
                continue
    return names


def _arguments(
    plan: BuildPlan,
    index: int,
    lexer: ShellLexer,
    values: dict[str, str],
    build_args: Mapping[str, str],
) -> Iterator[Argument]:
    for command in plan.stages[index].commands:
        if not isinstance(command, Arg):
            continue
        for name in command.names:
            value = argument_value(name.name, name.default, lexer, values, build_args)
            value = plan.scope.get(name.name) if value is None else value
            if value is not None:
                values[name.name] = value
            yield Argument(
                name=name.name,
                description=name.comment,
                value=values.get(name.name, ""),
                place=Place.of(command.origin),
            )


def _mounts(
    stage: StagePlan, lexer: ShellLexer, values: Mapping[str, str]
) -> Iterator[tuple[RunMount, Place]]:
    for command in stage.commands:
        if isinstance(command, Run):
            for text in command.mounts:
                mount = parse_mount(text, lambda word: lexer.word(word, values))
                yield mount, Place.of(command.origin)


def _needed(mount: RunMount, place: Place) -> Needed:
    name = mount.cache_id
    if mount.kind is MountKind.SSH:
        name = name or _DEFAULT_AGENT
    elif mount.kind is MountKind.SECRET:
        name = name or mount.source or mount.target.rpartition("/")[2]
    else:
        name = name or mount.target
    return Needed(name=name, is_required=mount.is_required, place=place)
