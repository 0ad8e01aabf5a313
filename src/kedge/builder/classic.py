"""The classic builder's JSON stream: events to the objects ``POST /build`` sends.

Clients parse these texts: docker-py finds the image by ``Successfully built``, the CLI's
``--iidfile`` reads the last ``aux``. ``q=1`` is the same stream with everything but the last
object left out.
"""

from typing import Final, assert_never

from kedge.builder.events import (
    Answered,
    CacheHit,
    CacheMiss,
    Event,
    ExportDone,
    ExportStarted,
    ImageBuilt,
    ImageTagged,
    InStage,
    Notice,
    Output,
    OutputReady,
    PullProgress,
    RunFinished,
    RunStarted,
    ShellReady,
    StageFailed,
    StepDone,
    StepStarted,
    Warned,
)
from kedge.builder.failures import StepFailedError
from kedge.builder.findings import Answer
from kedge.lib.ids import short_id
from kedge.lib.jsontypes import JsonObject

_WORTH_SAYING_MS: Final = 100


def classic_stream(event: Event) -> list[JsonObject]:  # noqa: C901 - one case per event
    """Return what the classic builder's stream says about ``event``, in order."""
    match event:
        case StepStarted():
            step = f"Step {event.number}/{event.total} : {event.text}"
            return [{"stream": step}, {"stream": "\n"}]
        case CacheHit():
            return [{"stream": f" ---> Using cache{_saved(event.saved_ms)}\n"}]
        case CacheMiss():
            return [{"stream": f" ---> Not in cache: {event.reason}\n"}]
        case RunStarted():
            return [{"stream": f" ---> Running in {short_id(event.container_id)}\n"}]
        case Output():
            return [{"stream": event.text}]
        case RunFinished():
            if event.exit_code:
                return []
            name = short_id(event.container_id)
            return [{"stream": f" ---> Removed intermediate container {name}\n"}]
        case StepDone():
            return [{"stream": f" ---> {short_id(event.image_id)}\n"}]
        case PullProgress():
            return [event.message]
        case Notice():
            return [{"stream": f"{event.text}\n"}]
        case Answered():
            return _answered(event.answer)
        case Warned():
            return [{"stream": f"[Warning] {event.text}\n"}]
        case ImageBuilt():
            return [
                {"aux": {"ID": event.image_id}},
                {"stream": f"Successfully built {short_id(event.image_id)}\n"},
            ]
        case ImageTagged():
            return [{"stream": f"Successfully tagged {event.name}\n"}]
        case ExportStarted():
            return [{"stream": f"{event.text[:1].upper()}{event.text[1:]}\n"}]
        case ExportDone():
            return [{"aux": {"Export": dict(event.response)}}]
        case OutputReady():
            return [{"aux": {"Output": {"Index": event.index, "Token": event.token}}}]
        case InStage():
            return _in_stage(event)
        case StageFailed():
            return []
        case ShellReady():
            told: JsonObject = {"Token": event.token, "Reason": event.reason, "Shell": event.shell}
            return [{"aux": {"Shell": told}}]
        case _:
            assert_never(event)


def _in_stage(event: InStage) -> list[JsonObject]:
    """Return what a stage reports, marked with its name and what it is at."""
    messages = classic_stream(event.event)
    if not event.label:
        return messages
    told: JsonObject = {"name": event.label}
    match event.event:
        case StepStarted() as step:
            told["begins"] = f"{step.number}/{step.total} {step.text}"
        case StepDone():
            told["ends"] = True
        case _:
            pass
    return [{**message, "stage": told} for message in messages]


def _answered(answer: Answer) -> list[JsonObject]:
    """Return what was asked: the text, and what a program reads."""
    document: JsonObject = {"Document": answer.document, "StatusCode": answer.status_code}
    shown = f"{answer.summary}\n{answer.text}" if answer.summary else answer.text
    return [{"stream": shown}, {"aux": {"Answer": document}}]


def _saved(duration_ms: int) -> str:
    """Return what a hit saved, where that is worth a word."""
    if duration_ms < _WORTH_SAYING_MS:
        return ""
    seconds = duration_ms / 1000
    shown = f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f" (saved {shown})"


def classic_quiet(event: Event) -> list[JsonObject]:
    """Return what ``q=1`` leaves of ``classic_stream``: the image's id."""
    if isinstance(event, ExportDone | OutputReady):
        return classic_stream(event)
    return [{"stream": f"{event.image_id}\n"}] if isinstance(event, ImageBuilt) else []


def classic_error(error: Exception) -> JsonObject:
    """Return the object that ends the stream of a build that failed."""
    detail: JsonObject = {"message": str(error)}
    if isinstance(error, StepFailedError):
        detail = {"code": error.exit_code, **detail}
    return {"errorDetail": detail, "error": str(error)}
