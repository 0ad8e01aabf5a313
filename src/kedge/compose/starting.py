"""Containers started and restarted."""

from collections.abc import Sequence

from kedge.client.http import EngineClient, percent_encode
from kedge.compose import events
from kedge.compose.events import Kind
from kedge.compose.hooks import run_hooks
from kedge.compose.stage import ServiceError, Stage
from kedge.compose.steps import RestartContainer, StartContainer
from kedge.errdefs import KedgeError, NotModifiedError
from kedge.lib.jsontypes import JsonObject


def start(stage: Stage, step: StartContainer) -> None:
    """Start a container, and run what is to run in it then.

    Raises:
        ServiceError: It does not start, or a hook fails.
    """
    verb = "Restart" if step.word == "Restart" else "Start"
    stage.report(events.working(Kind.CONTAINER, step.name, f"{verb}ing"))
    container = step.container or stage.id_of(step.name)
    with stage.pool.client() as client:
        _start(client, f"/containers/{percent_encode(container)}/start", step, container)
        run_hooks(client, container, step.service, "post_start", step.hooks)
    stage.report(events.done(Kind.CONTAINER, step.name, f"{verb}ed"))


def _start(client: EngineClient, path: str, step: StartContainer, container: str) -> None:
    try:
        client.post(path).read()
    except NotModifiedError:
        # Another command started it meanwhile.
        return
    except KedgeError as error:
        raise ServiceError(
            f"service {step.service}: container {step.name} does not start: {error}",
            service=step.service,
            container=container,
        ) from None


def restart(stage: Stage, step: RestartContainer) -> None:
    """Stop a container and start it again.

    Raises:
        ServiceError: It does not start, or a hook fails.
    """
    one = step.container
    stage.report(events.working(Kind.CONTAINER, one.name, "Restarting"))
    with stage.pool.client() as client:
        if one.state == "running":
            _hooks(client, step, "pre_stop", step.before)
        query = {} if step.timeout_s is None else {"t": step.timeout_s}
        try:
            client.post(f"/containers/{one.id}/restart", query).read()
        except KedgeError as error:
            message = f"service {step.service}: container {one.name} does not start: {error}"
            raise ServiceError(message, service=step.service, container=one.id) from None
        _hooks(client, step, "post_start", step.after)
    stage.report(events.done(Kind.CONTAINER, one.name, "Started"))


def _hooks(
    client: EngineClient, step: RestartContainer, kind: str, hooks: Sequence[JsonObject]
) -> None:
    run_hooks(client, step.container.id, step.service, kind, hooks)
