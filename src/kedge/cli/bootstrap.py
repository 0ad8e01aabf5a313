"""``kedge image bootstrap``: a base image from the distribution's packages, without a registry."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.progress import checked, show_progress
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    for name in options.words:
        messages = client.post("/images/bootstrap", {"name": name}).messages()
        if options.on("quiet"):
            for _ in checked(messages):
                pass
            sys.stdout.write(f"{name}\n")
        else:
            show_progress(messages, sys.stdout, plain=options.text("progress") == "plain")
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] NAME...",
    summary="Make a base image from the package mirror of its distribution, without any registry",
    flags=(
        value(
            "progress", "auto|plain", "How to show progress", default="auto", complete="auto|plain"
        ),
        switch("quiet", "Print the name only", short="q"),
    ),
    run=_run,
    examples=(
        ("kedge image bootstrap python:3.11-slim", "Debian's Python with pip"),
        ("kedge image bootstrap debian:bookworm-slim busybox", "Two images"),
    ),
    at_least=1,
    complete="busybox|debian:bookworm-slim|debian:trixie-slim|python:3.11-slim|redis:7",
)
