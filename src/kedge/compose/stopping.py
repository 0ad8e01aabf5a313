"""Containers stopped and removed."""

import contextlib

from kedge.client.http import EngineClient
from kedge.compose import events
from kedge.compose.events import Kind
from kedge.compose.hooks import run_hooks
from kedge.compose.stage import Stage
from kedge.compose.steps import RemoveContainer, StopContainer
from kedge.errdefs import ConflictError, NotFoundError, NotModifiedError


def stop(stage: Stage, step: StopContainer) -> None:
    """Stop a container as its service wants to be stopped."""
    with stage.pool.client() as client:
        _stop(stage, client, step)


def _stop(stage: Stage, client: EngineClient, step: StopContainer | RemoveContainer) -> None:
    name = step.container.name
    stage.report(events.working(Kind.CONTAINER, name, "Stopping"))
    if step.container.state == "running" and step.hooks:
        run_hooks(client, step.container.id, step.container.service, "pre_stop", step.hooks)
    query = {} if step.timeout_s is None else {"t": step.timeout_s}
    with contextlib.suppress(NotModifiedError, NotFoundError):
        client.post(f"/containers/{step.container.id}/stop", query).read()
    stage.report(events.done(Kind.CONTAINER, name, "Stopped"))


def remove(stage: Stage, step: RemoveContainer) -> None:
    """Stop a container if it runs, and remove it; one that is gone is what was wanted."""
    container = step.container
    with stage.pool.client() as client:
        if step.stop and container.is_running:
            _stop(stage, client, step)
        stage.report(events.working(Kind.CONTAINER, container.name, "Removing", step.reason))
        try:
            query = {"force": True, "v": step.volumes}
            client.delete(f"/containers/{container.id}", query).read()
        except NotFoundError:
            pass
        except ConflictError as error:
            if "already in progress" not in str(error):
                raise
    stage.drop(container.service, container.id)
    stage.report(events.done(Kind.CONTAINER, container.name, "Removed"))
