"""One thing done to all containers of some services at once, each reported: ``kill``, ``pause``."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kedge.cli.compose.opening import parallel_limit
from kedge.cli.compose.progress import open_progress
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
    do: Callable[[EngineClient, Container], None]


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
            deed.do(client, one)
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
