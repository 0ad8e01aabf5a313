"""Steps as the events their doing would report, for ``--dry-run``. Pure."""

from typing import Final

from kedge.compose.events import Event, Kind, done, warning
from kedge.compose.steps import (
    BuildImage,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    KeepContainer,
    PrepareService,
    PullImage,
    PushImage,
    RecreateContainer,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveVolume,
    RestartContainer,
    RunProvider,
    SkipImage,
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
    PushImage: "Pushed",
    RestartContainer: "Started",
}


def describe(step: Step) -> list[Event]:
    """Return what doing a step would end with."""
    kind, name = target(step)
    match step:
        case WaitFor():
            word = "Healthy" if step.condition == "service_healthy" else "Exited"
            return [done(Kind.CONTAINER, one, word) for one in step.containers]
        case PrepareService():
            return [done(Kind.CONTAINER, spec.name, "Exited") for spec in step.hooks]
        case StartContainer():
            return [done(kind, name, f"{step.word}ed")]
        case KeepContainer():
            return [done(kind, name, step.word)]
        case RunProvider():
            return [done(kind, name, "Created" if step.verb == "up" else "Removed")]
        case SkipImage():
            return [warning(kind, name, "Skipped", step.reason)]
        case (
            CreateNetwork()
            | CreateVolume()
            | RecreateContainer()
            | RemoveContainer()
            | PullImage()
            | BuildImage()
        ):
            return [done(kind, name, _WORDS[type(step)], step.reason)]
        case _:
            return [done(kind, name, _WORDS[type(step)])]
