"""``kedge context inspect``: everything the store has about contexts."""

import json
import os
import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.contexts import DEFAULT, load_context, load_tls, metadata_folder, tls_folder
from kedge.cli.exitcodes import FAILED, OK
from kedge.cli.flags import Options, value
from kedge.cli.listing import print_objects
from kedge.cli.target import current_context, environment_host
from kedge.client.http import EngineClient
from kedge.errdefs import NotFoundError
from kedge.lib.fields import mapping
from kedge.lib.jsontypes import JsonObject

_IN_MEMORY: Final = "<IN MEMORY>"


def _run(options: Options, _client: EngineClient) -> int:
    found: list[JsonObject] = []
    code = OK
    for name in options.words or [current_context(os.environ)]:
        try:
            found.append(_default() if name == DEFAULT else _stored(name))
        except NotFoundError as error:
            sys.stderr.write(f"kedge: {error}\n")
            code = FAILED
    print_objects(
        found,
        options.text("format"),
        default=lambda: print(_pretty(found)),
    )
    return code


def _pretty(found: list[JsonObject]) -> str:
    """Return JSON as Go indents it, which escapes angle brackets."""
    text = json.dumps(found, indent=4, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def _default() -> JsonObject:
    host = str(environment_host(os.environ))
    return {
        "Name": DEFAULT,
        "Metadata": {},
        "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}},
        "TLSMaterial": {},
        "Storage": {"MetadataPath": _IN_MEMORY, "TLSPath": _IN_MEMORY},
    }


def _stored(name: str) -> JsonObject:
    context = load_context(name)
    files = [*load_tls(name)]
    return {
        "Name": name,
        "Metadata": mapping(context.document, "Metadata"),
        "Endpoints": mapping(context.document, "Endpoints"),
        "TLSMaterial": {"docker": [*files]} if files else {},
        "Storage": {"MetadataPath": metadata_folder(name), "TLSPath": tls_folder(name)},
    }


COMMAND: Final = Command(
    usage="[OPTIONS] [CONTEXT...]",
    summary="Show everything about contexts as JSON, of the one in use without a name",
    flags=(value("format", "TEMPLATE", "Print with a Go template, or 'json'", short="f"),),
    run=_run,
    examples=(("kedge context inspect -f '{{.Endpoints.docker.Host}}' box", "Its address"),),
    needs_engine=False,
    needs_host=False,
    complete="context",
)
