"""``kedge import``: an image from a tar archive of files."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

from kedge.cli.command import Command
from kedge.cli.commit import split_target
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, many, value
from kedge.cli.load import read_pieces
from kedge.cli.progress import show_progress
from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import Body, EngineClient, Query


def _run(options: Options, client: EngineClient) -> int:
    source = options.words[0]
    repository, tag = split_target(options.words[1]) if len(options.words) > 1 else ("", "")
    is_remote = source.startswith(("http://", "https://")) and not os.path.exists(source)
    if source == "-" and sys.stdin.isatty():
        raise InvalidParameterError(
            "refusing to read an archive from a terminal: name a file, or redirect standard input"
        )
    query: Query = {
        "fromSrc": source if is_remote else "-",
        "repo": repository,
        "tag": tag,
        "message": options.text("message"),
        "changes": options.texts("change"),
        "platform": options.text("platform"),
    }
    with ExitStack() as stack:
        body: Body = None
        if source == "-":
            body = read_pieces(sys.stdin.buffer)
        elif not is_remote:
            body = read_pieces(stack.enter_context(open(source, "rb")))
        response = client.request(
            "POST",
            "/images/create",
            query,
            body=body,
            content_type="application/x-tar" if body is not None else "",
        )
        show_progress(response.messages(), sys.stdout)
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] FILE|URL|- [REPOSITORY[:TAG]]",
    summary="Make an image from a tar archive of files, such as export writes",
    flags=(
        many("change", "INSTRUCTION", "Dockerfile instruction to apply, such as 'CMD [\"sh\"]'",
             short="c"),
        value("message", "TEXT", "What the image is about", short="m"),
        value("platform", "OS/ARCH", "Platform of the image"),
    ),
    run=_run,
    examples=(
        ("kedge import web.tar my-web:flat", "From a file"),
        ("tar c -C rootfs . | kedge import -c 'CMD [\"/bin/sh\"]' - mini", "From a folder"),
    ),
    at_least=1,
    at_most=2,
    complete="file",
)  # fmt: skip
