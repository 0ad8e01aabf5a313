"""``pre_start``: programs that run in containers of their own before a service starts."""

import contextlib
from typing import TYPE_CHECKING

from kedge.client.streams import Demultiplexer
from kedge.compose import events
from kedge.compose.events import Kind
from kedge.compose.making import made_for_hook
from kedge.compose.stage import ServiceError, Stage
from kedge.compose.steps import PrepareService
from kedge.errdefs import NotFoundError
from kedge.lib.fields import number

if TYPE_CHECKING:
    from kedge.compose.createspec import ContainerSpec


def prepare(stage: Stage, step: PrepareService) -> None:
    """Run the ``pre_start`` programs of a service in containers that go at once.

    Raises:
        ServiceError: One fails.
    """
    for spec in step.hooks:
        _prepare(stage, spec)


def _prepare(stage: Stage, spec: "ContainerSpec") -> None:
    stage.report(events.working(Kind.CONTAINER, spec.name, "Starting"))
    with stage.pool.client() as client:
        container = made_for_hook(client, stage, spec)
        try:
            client.post(f"/containers/{container}/start").read()
            answer = client.post(f"/containers/{container}/wait").object()
            code = number(answer, "StatusCode")
            if code:
                query = {"stdout": True, "stderr": True, "tail": 10}
                pieces: list[bytes] = []
                data = client.get(f"/containers/{container}/logs", query).read()
                Demultiplexer(lambda _stream, piece: pieces.append(piece)).feed(data)
                said = " ".join(b"".join(pieces).decode("utf-8", "replace").split())
                raise ServiceError(
                    f"service {spec.service}: pre_start hook exited with status {code}"
                    f"{f': {said}' if said else ''}",
                    service=spec.service,
                )
        finally:
            with contextlib.suppress(NotFoundError):
                client.delete(f"/containers/{container}", {"force": True, "v": True}).read()
    stage.report(events.done(Kind.CONTAINER, spec.name, "Exited"))
