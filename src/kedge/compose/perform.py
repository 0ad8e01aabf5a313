"""Does the steps of a plan with an engine, and reports each as Docker Compose words it."""

from typing import Protocol, assert_never

from kedge.compose import events, resources
from kedge.compose.events import Kind
from kedge.compose.executor import Cancel
from kedge.compose.making import create, recreate
from kedge.compose.preparing import prepare
from kedge.compose.stage import Stage
from kedge.compose.starting import restart, start
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
from kedge.compose.stopping import remove, stop
from kedge.compose.waiting import wait_for
from kedge.errdefs import KedgeError


class Images(Protocol):
    """Gets images; what it prints goes through the stage's report."""

    def pull(self, stage: Stage, step: PullImage) -> None:
        """Pull an image."""
        ...

    def build(self, stage: Stage, step: BuildImage) -> None:
        """Build the image of a service."""
        ...

    def push(self, stage: Stage, step: PushImage) -> None:
        """Push the image of a service."""
        ...


class Performer:
    """Does one step after the other, from any thread."""

    def __init__(self, stage: Stage, images: Images) -> None:
        """Work on ``stage``; images come from ``images``."""
        self._stage = stage
        self._images = images

    def __call__(self, step: Step, cancel: Cancel) -> None:
        """Do one step.

        Raises:
            KedgeError: It failed; it was reported, and the text names the object.
        """
        if isinstance(step, WaitFor):
            wait_for(self._stage, step, cancel)
            return
        kind, name = target(step)
        try:
            self._do(step)
        except KedgeError as error:
            self._stage.report(events.failed(kind, name, str(error)))
            raise

    def _do(self, step: Step) -> None:  # noqa: C901 - one case a step
        stage = self._stage
        match step:
            case CreateNetwork():
                resources.create_network(stage, step)
            case CreateVolume():
                resources.create_volume(stage, step)
            case CreateContainer():
                create(stage, step.spec)
            case RecreateContainer():
                recreate(stage, step)
            case StartContainer():
                start(stage, step)
            case StopContainer():
                stop(stage, step)
            case RestartContainer():
                restart(stage, step)
            case PrepareService():
                prepare(stage, step)
            case RemoveContainer():
                remove(stage, step)
            case RemoveNetwork():
                resources.remove_network(stage, step)
            case RemoveVolume():
                resources.remove_volume(stage, step)
            case RemoveImage():
                resources.remove_image(stage, step)
            case PullImage():
                self._images.pull(stage, step)
            case BuildImage():
                self._images.build(stage, step)
            case PushImage():
                self._images.push(stage, step)
            case SkipImage():
                stage.report(events.warning(Kind.IMAGE, step.image, "Skipped", step.reason))
            case RunProvider():
                from kedge.compose.provider import run_provider  # noqa: PLC0415 - rarely needed

                run_provider(stage, step)
            case KeepContainer():
                stage.report(events.done(Kind.CONTAINER, step.name, step.word))
            case WaitFor():
                raise AssertionError("waits are done elsewhere")
            case _:
                assert_never(step)
