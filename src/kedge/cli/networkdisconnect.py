"""``kedge network disconnect``: take a container off a network."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


def _run(options: Options, client: EngineClient) -> int:
    network, container = options.words
    client.post(
        f"/networks/{percent_encode(network)}/disconnect",
        None,
        {"Container": container, "Force": options.on("force")},
    ).read()
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] NETWORK CONTAINER",
    summary="Take a container off a network",
    flags=(switch("force", "Also where the container does not answer", short="f"),),
    run=_run,
    examples=(("kedge network disconnect app web", "The container web leaves the network app"),),
    at_least=2,
    at_most=2,
    complete="network",
)
