"""``kedge compose attach``: this terminal becomes that of a service's container."""

from typing import Final

from kedge.cli.attach import ATTACH_FLAGS, attach_to
from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import INDEX_FLAG, find_one
from kedge.cli.config import configured_detach_keys
from kedge.cli.flags import Options
from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    container = find_one(options, client, options.words[0])
    return attach_to(
        client,
        container.name,
        stdin=not options.on("no-stdin"),
        sig_proxy=options.on("sig-proxy"),
        detach_keys=configured_detach_keys(options),
    )


COMMAND: Final = Command(
    usage="[OPTIONS] SERVICE",
    summary="Connect standard input, output and error to a service's running container",
    flags=(*ATTACH_FLAGS, INDEX_FLAG, *PROJECT_FLAGS),
    run=_run,
    examples=(("kedge compose attach web", "Follow a service and type into it"),),
    at_least=1,
    at_most=1,
    complete="service",
)
