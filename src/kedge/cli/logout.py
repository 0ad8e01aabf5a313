"""``kedge logout``: forget the credentials of a registry."""

from __future__ import annotations

import os
import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.registryname import registry_key_of
from kedge.client.credentials import CredentialStore, config_directory
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options
    from kedge.client.http import EngineClient


def _run(options: Options, _client: EngineClient) -> int:
    server = registry_key_of(options.words[0] if options.words else "")
    known = CredentialStore(config_directory(os.environ)).forget(server)
    what = "Removing login credentials for" if known else "Not logged in to"
    sys.stdout.write(f"{what} {server}\n")
    return OK


COMMAND: Final = Command(
    usage="[SERVER]",
    summary="Log out from a registry; Docker Hub where no server is named",
    flags=(),
    run=_run,
    examples=(("kedge logout registry.example.com", "Forget the password"),),
    at_most=1,
    needs_engine=False,
)
