"""``kedge context update``: change the description or the engine of a context."""

import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.contextendpoint import (
    ENDPOINT_FLAGS,
    Endpoint,
    make_context,
    make_endpoint,
    parse_endpoint,
)
from kedge.cli.contexts import check_name, load_context, store_context
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.client.http import EngineClient


def _run(options: Options, _client: EngineClient) -> int:
    name = options.words[0]
    check_name(name)
    before = load_context(name)
    description = options.text("description") or before.description
    tls = None
    endpoint = Endpoint(before.host, before.skip_tls_verify, {})
    if options.given("docker"):
        endpoint = make_endpoint(parse_endpoint(options))
        tls = endpoint.tls
    store_context(make_context(name, description, endpoint), tls)
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    sys.stderr.write(f'Successfully updated context "{name}"\n')
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] CONTEXT",
    summary="Change what a context says about its engine",
    flags=ENDPOINT_FLAGS,
    run=_run,
    examples=(("kedge context update box --docker host=ssh://me@new-box", "It has moved"),),
    at_least=1,
    at_most=1,
    needs_engine=False,
    needs_host=False,
    complete="context",
)
