"""``kedge compose wait``: block until containers stop; the exit code is the last one's."""

import queue
import sys
import threading
from collections.abc import Sequence
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.lateimages import LateImages
from kedge.cli.compose.progress import open_progress
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.running import carry_out, open_stage
from kedge.cli.compose.selecting import find_containers, regular
from kedge.cli.flags import Options, switch
from kedge.client.http import EngineClient
from kedge.compose.application import Application
from kedge.compose.following import take
from kedge.compose.observed import Container, observe
from kedge.compose.removal import DownWishes, plan_down
from kedge.errdefs import KedgeError, NotFoundError
from kedge.lib.fields import number

_BROKEN: Final = 42
"""Docker Compose's exit code where waiting itself fails."""


def _run(options: Options, client: EngineClient) -> int:
    app, found = find_containers(options, client, options.words)
    containers = [one for one in regular(found) if one.is_running]
    if not containers:
        raise NotFoundError(f'no containers for project "{app.name}" to wait for')
    first = options.on("down-project")
    try:
        code = _wait(containers, client, 1 if first else len(containers))
    except KedgeError as error:
        sys.stderr.write(f"kedge: {error}\n")
        return _BROKEN
    if first:
        _take_down(app, client, options)
    return code


def _wait(containers: Sequence[Container], client: EngineClient, count: int) -> int:
    """Return the code of the last of the first ``count`` containers that end."""
    results: queue.SimpleQueue[tuple[Container, int | KedgeError]] = queue.SimpleQueue()

    def wait(one: Container) -> None:
        waiter = EngineClient(client.host)
        try:
            answer = waiter.post(f"/containers/{one.id}/wait").object()
            results.put((one, number(answer, "StatusCode")))
        except KedgeError as error:
            results.put((one, error))

    for one in containers:
        threading.Thread(target=wait, args=(one,), daemon=True).start()
    code = 0
    for _ in range(count):
        one, result = take(results)
        if isinstance(result, KedgeError):
            raise result
        code = result
        sys.stdout.write(f'container "{one.id}" exited with status code {code}\n')
        sys.stdout.flush()
    return code


def _take_down(app: Application, client: EngineClient, options: Options) -> None:
    with open_progress(options, app.env, "down") as progress:
        stage = open_stage(app, client, progress)
        plan = plan_down(app, observe(client, app.name), DownWishes())
        carry_out(plan, stage, options, app.env, LateImages())


COMMAND: Final = Command(
    usage="[OPTIONS] SERVICE [SERVICE...]",
    summary="Wait until services' containers stop; the exit code is that of the last one",
    flags=(
        switch("down-project", "Take the project down when the first of them stops"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose wait migrate", "Wait for a job and end as it did"),),
    at_least=1,
    complete="service",
)
