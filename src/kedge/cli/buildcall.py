"""``kedge build --check`` and ``--call``: what a Dockerfile says without being built."""

import json
import sys
from collections.abc import Callable
from typing import Final

from kedge.cli.buildcontext import Context
from kedge.cli.buildinput import open_context
from kedge.cli.exitcodes import FAILED
from kedge.cli.flags import Options, UsageError
from kedge.client.http import EngineClient, Query
from kedge.errdefs import KedgeError
from kedge.lib.fields import mapping, number, text

_CALLS: Final = {"check": "check", "lint": "check", "outline": "outline", "targets": "targets"}
_FORMATS: Final = ("text", "json")


def ask(options: Options, client: EngineClient, query: Callable[[Options, Context], Query]) -> int:
    """Print what the Dockerfile answers and return 1 where checks found something.

    Raises:
        UsageError: The question or the format is unknown.
        KedgeError: The Dockerfile cannot be read or understood.
    """
    call, form = _question("check" if options.on("check") else options.text("call"))
    context = open_context(options.words[0], options.text("file"), options.texts("build-context"))
    response = client.request(
        "POST",
        "/build",
        {**query(options, context), "call": call},
        body=context.body,
        content_type="application/x-tar",
    )
    code = FAILED
    for message in response.messages():
        failure = text(message, "error")
        if failure:
            raise KedgeError(failure)
        answer = mapping(message, "aux", "Answer")
        if answer:
            code = number(answer, "StatusCode")
        if form == "text":
            sys.stdout.write(text(message, "stream"))
        elif answer:
            sys.stdout.write(f"{json.dumps(mapping(answer, 'Document'), indent=2)}\n")
    return code


def _question(words: str) -> tuple[str, str]:
    call, *settings = words.split(",")
    form = "text"
    for setting in settings:
        key, _, value = setting.partition("=")
        if key != "format" or value not in _FORMATS:
            raise UsageError(f"invalid --call {words}: want format=text or format=json")
        form = value
    if call not in _CALLS:
        raise UsageError(f"invalid --call {call}: must be one of check, outline, targets")
    return _CALLS[call], form
