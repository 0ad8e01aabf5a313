"""``kedge compose stats``: what the project's containers use."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.opening import find_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import check_services, sort_key
from kedge.cli.flags import Options, switch, value
from kedge.cli.stats import show_stats
from kedge.client.http import EngineClient
from kedge.compose.observed import list_containers


def _run(options: Options, client: EngineClient) -> int:
    app = find_application(options, client, options.words)
    check_services(app, list_containers(client, app.name), options.words)

    def names() -> list[str]:
        return [
            one.name
            for one in sorted(list_containers(client, app.name), key=sort_key)
            if (not options.words or one.service in options.words)
            and (options.on("all") or one.is_running)
        ]

    return show_stats(options, client, names, strict=False)


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Show how much CPU, memory, network and disk services use, every second",
    flags=(
        switch("all", "Show stopped containers, too", short="a"),
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        switch("no-stream", "Print once and end"),
        switch("no-trunc", "Do not cut anything short"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(("kedge compose stats --no-stream", "All services, once"),),
    complete="service",
)
