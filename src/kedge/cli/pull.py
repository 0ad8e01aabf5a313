"""``kedge pull``: download an image."""

import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.pulling import pull
from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    name = pull(
        client,
        options.words[0],
        platform=options.text("platform"),
        stream=sys.stdout,
        quiet=options.on("quiet"),
        all_tags=options.on("all-tags"),
    )
    sys.stdout.write(f"{name}\n")
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    summary="Download an image from a registry",
    flags=(
        switch("all-tags", "Download all tags of the name", short="a"),
        value("platform", "OS/ARCH", "Platform of the image"),
        switch("quiet", "Do not show progress", short="q"),
    ),
    run=_run,
    examples=(
        ("kedge pull python:3.11-slim", "From Docker Hub"),
        ("kedge pull registry.example.com:5000/team/app:1.2", "From a registry of your own"),
    ),
    at_least=1,
    at_most=1,
    complete="image",
)
