"""``kedge compose commit``: an image from what a service's container has become."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.commit import COMMIT_FLAGS, commit
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import INDEX_FLAG, find_one
from kedge.cli.flags import Options
from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    service, target = (*options.words, "")[:2]
    container = find_one(options, client, service, running=False)
    return commit(client, options, container.id, target)


COMMAND: Final = Command(
    usage="[OPTIONS] SERVICE [REPOSITORY[:TAG]]",
    summary="Make an image from a service's container, and print its id",
    flags=(*COMMIT_FLAGS, INDEX_FLAG, *PROJECT_FLAGS),
    run=_run,
    examples=(("kedge compose commit web my-web:tested", "Keep a service as an image"),),
    at_least=1,
    at_most=2,
    complete="service",
)
