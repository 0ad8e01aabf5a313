"""``kedge context create``: remember how to reach an engine under a name."""

import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.contextendpoint import (
    ENDPOINT_FLAGS,
    describe,
    endpoint_of,
    make_context,
    make_endpoint,
    parse_endpoint,
    source_name,
)
from kedge.cli.contexts import check_name, context_exists, store_context
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, value
from kedge.client.http import EngineClient
from kedge.errdefs import ConflictError


def _run(options: Options, _client: EngineClient) -> int:
    name = options.words[0]
    check_name(name)
    if context_exists(name):
        raise ConflictError(f'context "{name}" already exists')
    description = options.text("description")
    if options.given("docker"):
        if options.given("from"):
            raise UsageError("cannot use --docker flag when --from is set")
        endpoint = make_endpoint(parse_endpoint(options))
    else:
        source = source_name(options)
        endpoint = endpoint_of(source)
        description = description or describe(source)
    store_context(make_context(name, description, endpoint), endpoint.tls)
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    sys.stderr.write(f'Successfully created context "{name}"\n')
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] CONTEXT",
    summary="Remember how to reach an engine under a name; Docker's client sees it, too",
    flags=(
        *ENDPOINT_FLAGS,
        value("from", "CONTEXT", "Copy another context", complete="context"),
    ),
    run=_run,
    examples=(
        ("kedge context create box --docker host=ssh://me@box", "An engine behind ssh"),
        (
            "kedge context create lab --docker host=tcp://lab:2376,ca=ca.pem,cert=cert.pem,key=key.pem",
            "One behind TLS",
        ),
    ),
    at_least=1,
    at_most=1,
    needs_engine=False,
    needs_host=False,
)  # fmt: skip
