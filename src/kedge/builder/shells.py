"""A shell in the file system of a step that failed, for whoever asked for the build.

The builder keeps the step's layer and mounts for as long as `Shells.show` takes; the engine brings
a terminal. Nothing of what is changed there outlives it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kedge.builder.events import Event
from kedge.builder.steps import StepSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStep:
    """The step that failed, as a container that could be started again."""

    spec: StepSpec
    """Its ``args`` are those of the step."""
    reason: str
    """Why it failed, in one line."""


class Shells(Protocol):
    """Opens shells for one build."""

    def show(self, step: FailedStep, on_event: Callable[[Event], None]) -> None:
        """Announce a shell and return when it is over, or nobody wants it any more.

        Only the first step that fails gets one; it never raises for what goes wrong in it.
        """
        ...
