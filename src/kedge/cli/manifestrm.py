"""``kedge manifest rm``: forget manifest lists."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.cli.registryaccess import manifest_lists
from kedge.client.http import EngineClient
from kedge.oci.references import parse_reference


def _run(options: Options, _client: EngineClient) -> int:
    for word in options.words:
        manifest_lists().remove(parse_reference(word).with_default_tag())
    return OK


COMMAND: Final = Command(
    usage="LIST [LIST...]",
    summary="Forget manifest lists that were made here; registries keep theirs",
    flags=(),
    run=_run,
    examples=(("kedge manifest rm reg.example/app:1", "Begin anew"),),
    at_least=1,
    needs_engine=False,
)
