"""``kedge stop``: the stop signal, and SIGKILL when that does not help."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.each import for_each
from kedge.cli.flags import Flag, Options, integer, value
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import NotModifiedError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


STOP_FLAGS: Final[tuple[Flag, ...]] = (
    value("signal", "SIGNAL", "Signal to send (default: the container's stop signal)", short="s"),
    value(
        "timeout",
        "SECONDS",
        "How long to wait before killing it; -1 waits for ever (default: the container's, 10)",
        short="t",
        check=integer,
    ),
    value("time", "SECONDS", "Same as --timeout", check=integer),
)


def stop_query(options: Options) -> dict[str, str]:
    """Return the parameters of stop and restart."""
    seconds = options.text("timeout") or options.text("time")
    return {"t": seconds, "signal": options.text("signal")}


def _run(options: Options, client: EngineClient) -> int:
    query = stop_query(options)

    def stop(name: str) -> None:
        try:
            client.post(f"/containers/{percent_encode(name)}/stop", query).read()
        except NotModifiedError:
            # It has stopped already, which is what was asked for.
            return

    return for_each(options.words, stop)


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER...",
    summary="Stop running containers: ask them to end, and kill them when time is up",
    flags=STOP_FLAGS,
    run=_run,
    examples=(
        ("kedge stop web", "Stop a container"),
        ("kedge stop -t 1 web db", "Give two containers one second"),
    ),
    at_least=1,
    complete="running",
)
