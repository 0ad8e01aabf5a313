"""``kedge manifest inspect``: show a manifest or a manifest list."""

import json
import sys
from contextlib import closing
from typing import Final, cast

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch
from kedge.cli.registryaccess import INSECURE, manifest_lists, open_access
from kedge.client.http import EngineClient
from kedge.distribution.manifestlists import describe, fetch_document, make_index
from kedge.oci.references import parse_reference


def _run(options: Options, _client: EngineClient) -> int:
    reference = parse_reference(options.words[-1]).with_default_tag()
    entries = manifest_lists().load(reference)
    if entries is not None:
        document = make_index([entry.descriptor for entry in entries])
    else:
        with closing(open_access(options)) as access:
            document = fetch_document(reference, access)
    verbose = options.on("verbose")
    shown = describe(reference, document) if verbose else cast("object", json.loads(document.data))
    sys.stdout.write(f"{json.dumps(shown, indent=3, ensure_ascii=False)}\n")
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] MANIFEST",
    summary="Show a manifest or a manifest list, of a registry or being made here",
    flags=(switch("verbose", "Also its digest and size", short="v"), INSECURE),
    run=_run,
    examples=(("kedge manifest inspect debian:12", "Which platforms there are"),),
    at_least=1,
    at_most=1,
    needs_engine=False,
)
