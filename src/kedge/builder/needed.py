"""What the needed stages of a Dockerfile plainly take from the build context. Pure.

A source with a variable or quotes in it, and what triggers of a base image copy, is known only when
its step comes.
"""

from typing import Final

from kedge.builder.adding import is_fetched
from kedge.builder.dockerfile.instructions import Add, Command, Copy, Run
from kedge.builder.dockerfile.mounts import MountKind, parse_mount
from kedge.builder.plan import BuildPlan, keep_nonempty

_NOT_PLAIN: Final = frozenset("$\"'\\")


def needed_sources(plan: BuildPlan) -> list[str]:
    """Return the sources of COPY, ADD and bind mounts that name the build context, as written."""
    commands = [command for index in plan.order for command in plan.stages[index].commands]
    sources = [source for command in commands for source in _sources(command)]
    return [source for source in sources if _NOT_PLAIN.isdisjoint(source)]


def _sources(command: Command) -> list[str]:
    if isinstance(command, Copy):
        return [] if command.from_ else list(command.transfer.sources)
    if isinstance(command, Add):
        return [each for each in command.transfer.sources if not is_fetched(command, each)]
    if isinstance(command, Run):
        # A variable becomes a name that hardly is one; asking for it is harmless.
        mounts = [parse_mount(text, keep_nonempty) for text in command.mounts]
        return [
            mount.source for mount in mounts if mount.kind is MountKind.BIND and not mount.from_
        ]
    return []
