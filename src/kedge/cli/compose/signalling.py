"""One thing done to all containers of some services at once, each reported: ``kill``, ``pause``."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kedge.cli.command import Command
from kedge.cli.compose.opening import parallel_limit
from kedge.cli.compose.progress import open_progress
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import find_containers, regular
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.client.http import EngineClient
from kedge.compose import events
from kedge.compose.application import Application
from kedge.compose.clients import ClientPool
from kedge.compose.events import Kind, Report
from kedge.compose.observed import Container
from kedge.errdefs import KedgeError


class Deed(NamedTuple):
    """What is done to a container, and how it is told."""

    operation: str
    before: str
    """``Killing``."""
    after: str
    do: Callable[[EngineClient, Container], None] | None = None
    """What it is; otherwise the engine's own ``operation``."""


def state_verb(deed: Deed, *, of: str, summary: str, example: str) -> Command:
    """Return the verb that does ``deed`` to the containers in the state ``of``."""

    def run(options: Options, client: EngineClient) -> int:
        app, containers = find_containers(options, client, options.words)
        targets = [one for one in regular(containers) if one.state == of]
        do_to_all(options, client, app, targets, deed)
        return OK

    return Command(
        usage="[SERVICE...]",
        summary=summary,
        flags=PROJECT_FLAGS,
        run=run,
        examples=((f"kedge compose {deed.operation} web", example),),
        complete="service",
    )


def do_to_all(
    options: Options,
    client: EngineClient,
    app: Application,
    containers: Sequence[Container],
    deed: Deed,
) -> None:
    """Do it to all containers at once.

    Raises:
        KedgeError: The first failure; the others were done.
    """
    limit = parallel_limit(options, app.env)
    with open_progress(options, app.env, deed.operation) as progress:
        if options.on("dry-run"):
            for one in containers:
                progress.report(events.done(Kind.CONTAINER, one.name, deed.after))
            return
        pool = ClientPool(client.host)
        failures = in_parallel(containers, lambda one: _do(pool, one, deed, progress.report), limit)
        pool.close()
    if failures:
        raise failures[0]


def _do(pool: ClientPool, one: Container, deed: Deed, report: Report) -> None:
    report(events.working(Kind.CONTAINER, one.name, deed.before))
    try:
        with pool.client() as client:
            if deed.do is not None:
                deed.do(client, one)
            else:
                client.post(f"/containers/{one.id}/{deed.operation}").read()
    except KedgeError as error:
        report(events.failed(Kind.CONTAINER, one.name, str(error)))
        raise
    report(events.done(Kind.CONTAINER, one.name, deed.after))


def in_parallel(
    containers: Sequence[Container], do: Callable[[Container], None], limit: int = -1
) -> list[KedgeError]:
    """Do something to all containers at once, ``limit`` at a time; return what failed."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - not for lists

    if not containers:
        return []
    failures: list[KedgeError] = []

    def attempt(one: Container) -> None:
        try:
            do(one)
        except KedgeError as error:
            failures.append(error)

    workers = min(len(containers), limit if limit > 0 else 64)
    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(attempt, containers))
    return failures
