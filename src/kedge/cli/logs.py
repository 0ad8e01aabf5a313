"""``kedge logs``: what a container has written."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.client.http import EngineClient, Query, Response, percent_encode
from kedge.client.streams import Demultiplexer, write_all
from kedge.errdefs import InvalidParameterError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


def _run(options: Options, client: EngineClient) -> int:
    tail = options.text("tail")
    check_tail(tail)
    query: Query = {
        "stdout": True,
        "stderr": True,
        "follow": options.on("follow"),
        "timestamps": options.on("timestamps"),
        "details": options.on("details"),
        "tail": tail,
        "since": log_moment(options.text("since")),
        "until": log_moment(options.text("until")),
    }
    path = f"/containers/{percent_encode(options.words[0])}/logs"
    if options.on("follow"):
        from kedge.client.marked import follow_log  # noqa: PLC0415 - rarely needed

        follow_log(client, path, query, write_all, _show)
    else:
        _show(client.get(path, query))
    return OK


def _show(response: Response) -> None:
    if "multiplexed" in response.headers.get("content-type", ""):
        feed = Demultiplexer(write_all).feed
        for chunk in response.chunks():
            feed(chunk)
    else:
        for chunk in response.chunks():
            write_all(1, chunk)


def check_tail(tail: str) -> None:
    """Refuse a number of lines that is none.

    Raises:
        InvalidParameterError: It is none.
    """
    if tail != "all" and not tail.isdigit():
        raise InvalidParameterError(
            f'invalid value for "tail": {tail}: want a number of lines, or all'
        )


def log_moment(text: str) -> str:
    """Return ``--since`` or ``--until`` for the engine; empty where it was not given.

    Raises:
        InvalidParameterError: It is no time.
    """
    if not text:
        return ""
    from kedge.cli.moments import engine_moment  # noqa: PLC0415 - rarely needed

    return engine_moment(text, SYSTEM_CLOCK.time_ns() / 10**9)


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER",
    summary="Show what a container has written to its output and error output",
    flags=(
        switch("follow", "Keep showing new lines", short="f"),
        value("tail", "N", "Show the last N lines only", short="n", default="all"),
        switch("timestamps", "Show when each line was written", short="t"),
        value("since", "TIME", "Show lines after a moment (2026-01-31T12:00:00) or since (10m)"),
        value("until", "TIME", "Show lines before a moment, or until (10m) ago"),
        switch("details", "Show extra details of the log driver"),
    ),
    run=_run,
    examples=(
        ("kedge logs -f web", "Follow a container"),
        ("kedge logs -n 20 -t web", "The last twenty lines with times"),
        ("kedge logs --since 10m web", "The last ten minutes"),
    ),
    at_least=1,
    at_most=1,
    complete="container",
)
