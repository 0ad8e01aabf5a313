"""What a build reports while it runs, as plain data.

The executor emits these in order, from its own thread; `kedge.builder.classic` turns them into
the stream of ``POST /build``, and other front doors into theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from kedge.builder.findings import Answer, CheckWarning
from kedge.lib.jsontypes import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """An instruction begins."""

    number: int
    total: int
    text: str
    """The instruction as the file has it."""
    stage: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHit:
    """The result of the step is known; nothing runs."""

    key: str
    saved_ms: int = 0
    """How long it took when it was carried out; 0 where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMiss:
    """The step is carried out again, and it is known why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A container of a RUN starts."""

    container_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Text a RUN printed."""

    stream: str
    """``stdout`` or ``stderr``."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The container of a RUN is gone."""

    container_id: str
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """An instruction is finished; the id is that of an image made of what stands so far."""

    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """A progress line of a base image that is being fetched, in Docker's JSON shape."""

    message: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One line worth knowing that is no warning."""

    text: str
    is_excerpt: bool = False
    """Lines of the Dockerfile around a failure, which some clients show themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """One line about something that is allowed but probably not meant."""

    text: str
    check: CheckWarning | None = None
    """The build check that found it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What was asked of the Dockerfile in place of building it."""

    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuilt:
    """The image is in the store."""

    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTagged:
    """The image has one more name."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportStarted:
    """A result is being written, sent or pushed."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDone:
    """It is there."""

    text: str
    response: Mapping[str, str]
    """What BuildKit's exporter of this kind answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellReady:
    """A shell in the file system of a step that failed waits for its client."""

    token: str
    reason: str
    """Why the step failed."""
    shell: str
    """The program, as the container sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputReady:
    """The receiver of an output may fetch its bytes now."""

    index: int
    """Of the output in the request."""
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFailed:
    """The stage is what ends the build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InStage:
    """What one stage reports while others do, for whoever can show several at once."""

    stage: int
    event: "Event"
    label: str = ""
    """The stage's name; empty where it is the only one."""


Event: TypeAlias = (
    StepStarted
    | CacheHit
    | CacheMiss
    | RunStarted
    | Output
    | RunFinished
    | StepDone
    | PullProgress
    | Notice
    | Warned
    | Answered
    | ImageBuilt
    | ImageTagged
    | ExportStarted
    | ExportDone
    | OutputReady
    | ShellReady
    | StageFailed
    | InStage
)
