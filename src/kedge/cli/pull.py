"""``kedge pull``: download an image."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, switch, value
from kedge.cli.moving import pull_from
from kedge.cli.pulling import pull
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    if len(options.words) > 1:
        return _from_engine(options, client)
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


def _from_engine(options: Options, client: EngineClient) -> int:
    name, address = options.words
    for flag in ("all-tags", "platform"):
        if options.given(flag):
            raise UsageError(f"--{flag} is for registries: an engine gives the one image it has")
    pull_from(client, name, address, quiet=options.on("quiet"))
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] NAME[:TAG|@DIGEST] [ssh://HOST]",
    summary="Download an image from a registry, or straight from another engine",
    flags=(
        switch("all-tags", "Download all tags of the name", short="a"),
        value("platform", "OS/ARCH", "Platform of the image"),
        switch("quiet", "Do not show progress", short="q"),
    ),
    run=_run,
    examples=(
        ("kedge pull python:3.11-slim", "From Docker Hub"),
        ("kedge pull registry.example.com:5000/team/app:1.2", "From a registry of your own"),
        ("kedge pull app:1.2 ssh://ann@server", "Without a registry: the layers missing here"),
    ),
    at_least=1,
    at_most=2,
    complete="image",
)
