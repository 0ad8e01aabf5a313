"""Waiting until containers are as the services that depend on them ask.

An event stream tells when to look, so that a dependent starts the moment its dependency is
healthy; a look every half second stands behind it, should the stream be lost.
"""

from typing import Final

from kedge.compose import events
from kedge.compose.events import Kind
from kedge.compose.executor import Cancel, CancelledStepError
from kedge.compose.stage import ServiceError, Stage
from kedge.compose.steps import WaitFor
from kedge.errdefs import NotFoundError
from kedge.lib.fields import items, mapping, number, text
from kedge.lib.jsontypes import JsonObject

_LOOK_S: Final = 0.5


def wait_for(stage: Stage, step: WaitFor, cancel: Cancel) -> None:
    """Return when the containers of a service are as ``step`` says.

    Raises:
        ServiceError: They cannot become so any more.
        CancelledStepError: The rest was given up.
    """
    for name in step.containers:
        stage.report(events.working(Kind.CONTAINER, name, "Waiting"))
    for name in step.containers:
        try:
            word = _wait_for_one(stage, step, name, cancel)
        except ServiceError as error:
            if step.required:
                stage.report(events.failed(Kind.CONTAINER, name, str(error)))
                raise
            text_ = f"optional dependency failed: {error}"
            stage.report(events.warning(Kind.CONTAINER, name, "Skipped", text_))
            continue
        stage.report(events.done(Kind.CONTAINER, name, word))


def _wait_for_one(stage: Stage, step: WaitFor, name: str, cancel: Cancel) -> str:
    container = stage.id_of(name)
    while not cancel.is_set():
        seen = stage.changes.count()
        try:
            record = stage.inspect(container)
        except NotFoundError:
            raise ServiceError(
                f"service {step.service}: container {name} is gone", service=step.service
            ) from None
        word = _state(step, name, record)
        if word:
            return word
        if step.timeout_s and stage.age_s() > step.timeout_s:
            raise ServiceError(
                f"application not healthy after {step.timeout_s}s: container {name} is "
                f"{_shown_state(record)}",
                service=step.service,
                container=container,
            )
        stage.changes.wait(seen, _LOOK_S)
    raise CancelledStepError(f"no longer waiting for {name}")


def _shown_state(record: JsonObject) -> str:
    health = text(record, "State", "Health", "Status")
    return health if health not in {"", "none"} else text(record, "State", "Status")


def _state(step: WaitFor, name: str, record: JsonObject) -> str:
    """Return Docker's word when the condition holds; empty while it may still come to hold."""
    state = mapping(record, "State")
    status, code = text(state, "Status"), number(state, "ExitCode")
    if step.condition == "service_completed_successfully":
        if status not in {"exited", "dead"}:
            return ""
        if code == 0:
            return "Exited"
        message = f'service "{step.service}" didn\'t complete successfully: exit {code}'
        raise ServiceError(message, service=step.service, container=text(record, "Id"))
    if status in {"exited", "dead"}:
        raise _broken(step, name, record, f"exited ({code})")
    health = text(state, "Health", "Status")
    if health == "unhealthy":
        raise _broken(step, name, record, "is unhealthy")
    if health == "healthy":
        return "Healthy"
    if health in {"", "none"}:
        if step.condition == "service_healthy" and status == "running":
            raise _broken(step, name, record, "has no healthcheck configured")
        return "Started" if status == "running" and step.condition == "ready" else ""
    return ""


def _broken(step: WaitFor, name: str, record: JsonObject, what: str) -> ServiceError:
    message = f"container {name} {what}"
    if step.condition != "ready":
        message = f"dependency failed to start: {message}"
    log = items(record, "State", "Health", "Log")
    health = text(log[-1], "Output").strip() if log else ""
    container = text(record, "Id")
    return ServiceError(message, service=step.service, container=container, health=health)
