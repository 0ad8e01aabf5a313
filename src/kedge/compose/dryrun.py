"""Steps as the events their doing would report, for ``--dry-run``. Pure."""

from typing import Final

from kedge.compose.events import Event, Kind, done
from kedge.compose.steps import (
    BuildImage,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    KeepContainer,
    PullImage,
    RecreateContainer,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveVolume,
    RunProvider,
    StartContainer,
    Step,
    StopContainer,
    WaitFor,
    target,
)

_WORDS: Final[dict[type[Step], str]] = {
    CreateNetwork: "Created",
    CreateVolume: "Created",
    CreateContainer: "Created",
    RecreateContainer: "Recreated",
    StopContainer: "Stopped",
    RemoveContainer: "Removed",
    RemoveNetwork: "Removed",
    RemoveVolume: "Removed",
    RemoveImage: "Removed",
    PullImage: "Pulled",
    BuildImage: "Built",
}


def describe(step: Step) -> list[Event]:
    """Return what doing a step would end with."""
    if isinstance(step, WaitFor):
        word = "Healthy" if step.condition == "service_healthy" else "Exited"
        return [done(Kind.CONTAINER, name, word) for name in step.containers]
    kind, name = target(step)
    if isinstance(step, StartContainer):
        return [done(kind, name, f"{step.word}ed")]
    if isinstance(step, KeepContainer):
        return [done(kind, name, step.word)]
    if isinstance(step, RunProvider):
        return [done(kind, name, step.verb.capitalize())]
    reason = "" if isinstance(step, (CreateContainer, StopContainer)) else _reason(step)
    return [done(kind, name, _WORDS[type(step)], reason)]


def _reason(step: Step) -> str:
    return str(getattr(step, "reason", ""))
