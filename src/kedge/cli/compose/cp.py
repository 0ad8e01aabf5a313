"""``kedge compose cp``: files between a service's container and this host."""

import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import INDEX_FLAG, find_containers, regular
from kedge.cli.cp import Place, Wishes, check_places, copy, parse_place
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, switch
from kedge.client.http import EngineClient
from kedge.compose.observed import Container
from kedge.errdefs import NotFoundError


def _run(options: Options, client: EngineClient) -> int:
    source, target = (parse_place(word) for word in options.words)
    check_places(options.words, source, target)
    if options.on("all") and options.given("index"):
        raise UsageError("--all and --index are incompatible")
    service = source.container or target.container
    _, containers = find_containers(options, client, [service])
    wishes = Wishes(options.on("follow-link"), options.on("archive"), quiet=not sys.stdout.isatty())
    chosen = _chosen(options, containers, service, sending=bool(target.container))
    for one in chosen:
        copy(
            client,
            Place(one.id, source.path) if source.container else source,
            Place(one.id, target.path) if target.container else target,
            wishes,
        )
    return OK


def _chosen(
    options: Options, containers: list[Container], service: str, *, sending: bool
) -> list[Container]:
    """Return where files come from or go to: to all of a service unless told otherwise."""
    found = containers if options.on("all") else regular(containers)
    index = options.integer("index")
    if index:
        found = [one for one in found if one.number == index]
    if not found:
        which = f'container #{index} of service "{service}"' if index else f'service "{service}"'
        raise NotFoundError(f"{which} has no container: kedge compose up makes them")
    return found if sending else found[:1]


COMMAND: Final = Command(
    usage="[OPTIONS] SERVICE:PATH PATH|-\n       kedge compose cp [OPTIONS] PATH|- SERVICE:PATH",
    summary="Copy files and folders between a service's container and this host",
    flags=(
        switch("all", "Copy to containers of 'run', too"),
        switch("archive", "Keep owners", short="a"),
        switch("follow-link", "Copy what a symbolic link points to", short="L"),
        INDEX_FLAG,
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose cp web:/etc/nginx/nginx.conf .", "A file out of a service"),
        ("kedge compose cp --index 2 ./data worker:/data", "A folder into its second container"),
    ),
    at_least=2,
    at_most=2,
    complete="service",
)
