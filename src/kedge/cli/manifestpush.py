"""``kedge manifest push``: push a manifest list."""

import sys
from contextlib import closing
from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch
from kedge.cli.registryaccess import INSECURE, manifest_lists, open_access
from kedge.client.http import EngineClient
from kedge.distribution.manifestlists import push_list
from kedge.oci.references import parse_reference


def _run(options: Options, _client: EngineClient) -> int:
    name = parse_reference(options.words[0]).with_default_tag()
    lists = manifest_lists()

    def report(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    with closing(open_access(options)) as access:
        digest = push_list(lists, name, access, report)
    if options.on("purge"):
        lists.remove(name)
    sys.stdout.write(f"{digest}\n")
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] LIST",
    summary="Push a manifest list, and its images where they are in another repository",
    flags=(switch("purge", "Forget the list when it is pushed", short="p"), INSECURE),
    run=_run,
    examples=(("kedge manifest push -p reg.example/app:1", "The last step"),),
    at_least=1,
    at_most=1,
    needs_engine=False,
)
