"""``kedge load``: images from an archive that ``save`` made, or from an OCI layout."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.platforms import check_platform, platform_parameter
from kedge.cli.progress import show_progress
from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, Final

    from kedge.client.http import EngineClient, Query


_CHUNK: Final = 1 << 18


def _run(options: Options, client: EngineClient) -> int:
    path = options.text("input")
    if not path and sys.stdin.isatty():
        raise InvalidParameterError(
            "requested load from stdin, but stdin is empty: name a file with -i"
        )
    # Bars are for people: without a terminal only the lines about images are wanted.
    quiet = options.on("quiet") or not sys.stdout.isatty()
    query: Query = {
        "quiet": "1" if quiet else "0",
        "platform": platform_parameter(options.text("platform")),
    }
    with ExitStack() as stack:
        source = stack.enter_context(open(path, "rb")) if path else sys.stdin.buffer
        response = client.request(
            "POST",
            "/images/load",
            query,
            body=read_pieces(source),
            content_type="application/x-tar",
        )
        show_progress(response.messages(), sys.stdout)
    return OK


def read_pieces(source: BinaryIO) -> Iterator[bytes]:
    """Yield what ``source`` has, as it comes."""
    while piece := source.read(_CHUNK):
        yield piece


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Read images from a tar archive that save made, or that holds an OCI layout",
    flags=(
        value("input", "FILE", "Read from a file, not from standard input", short="i",
              complete="file"),
        value("platform", "OS/ARCH", "Platform to load", check=check_platform),
        switch("quiet", "Do not show progress", short="q"),
    ),
    run=_run,
    examples=(
        ("kedge load -i app.tar", "From a file"),
        ("gzip -dc app.tar.gz | kedge load", "From a pipe"),
    ),
    at_most=0,
)  # fmt: skip
