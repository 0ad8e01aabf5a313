"""``kedge manifest create``: join manifests under one name."""

import sys
from contextlib import closing
from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch
from kedge.cli.registryaccess import INSECURE, manifest_lists, open_access
from kedge.client.http import EngineClient
from kedge.distribution.manifestlists import create_list
from kedge.oci.references import parse_reference


def _run(options: Options, _client: EngineClient) -> int:
    name, *sources = (parse_reference(word).with_default_tag() for word in options.words)
    with closing(open_access(options)) as access:
        create_list(manifest_lists(), name, sources, access, amend=options.on("amend"))
    sys.stdout.write(f"Created manifest list {name.canonical()}\n")
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] LIST MANIFEST [MANIFEST...]",
    summary="Make a manifest list of images that are in a registry, to be annotated and pushed",
    flags=(switch("amend", "Add to a list that is there", short="a"), INSECURE),
    run=_run,
    examples=(
        (
            "kedge manifest create reg.example/app:1 reg.example/app:amd reg.example/app:arm",
            "One name for two platforms",
        ),
    ),
    at_least=2,
    needs_engine=False,
)
