"""Where a build failed, as people read it: the lines of the Dockerfile around the step."""

from kedge.builder.dockerfile.instructions import Command
from kedge.builder.plan import StagePlan


def excerpt(name: str, plan: StagePlan, failed: Command) -> str:
    """Return the failing instruction of the Dockerfile ``name`` between its neighbours."""
    index = next((i for i, each in enumerate(plan.commands) if each is failed), None)
    if index is None:
        return f"{name}:{plan.line} (a trigger of the base image)"
    around = [(plan.line, plan.text), *((c.origin.line, c.origin.source) for c in plan.commands)]
    lines = [f"{name}:{failed.origin.line}"]
    lines += [
        f"{'>>>' if at == index + 1 else '   '} {line:4} | {text}"
        for at, (line, source) in list(enumerate(around))[index : index + 3]
        for text in source.splitlines()[:5]
    ]
    return "\n".join(lines)
