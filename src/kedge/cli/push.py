"""``kedge push``: upload an image."""

from __future__ import annotations

import os
import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, switch, value
from kedge.cli.moving import push_to
from kedge.cli.progress import checked, show_progress
from kedge.client.credentials import CredentialStore, config_directory, registry_auth_headers
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.references import parse_reference

if TYPE_CHECKING:
    from typing import Final


def _run(options: Options, client: EngineClient) -> int:
    reference = parse_reference(options.words[0])
    everything = options.on("all-tags")
    if len(options.words) > 1:
        return _to_engine(options, client)
    if everything and reference.tag:
        raise UsageError("tag can't be used with --all-tags/-a")
    if reference.digest:
        raise InvalidParameterError("cannot push a digest reference")
    tag = reference.tag
    if not tag and not everything:
        tag = "latest"
        if not options.on("quiet"):
            sys.stdout.write("Using default tag: latest\n")
    messages = client.request(
        "POST",
        f"/images/{percent_encode(reference.name, keep='/:')}/push",
        {"tag": tag, "platform": options.text("platform")},
        headers=registry_auth_headers(
            CredentialStore(config_directory(os.environ)), reference.domain
        ),
    ).messages()
    if options.on("quiet"):
        for _ in checked(messages):
            pass
        sys.stdout.write(f"{reference.name}{f':{tag}' if tag else ''}\n")
    else:
        show_progress(messages, sys.stdout)
    return OK


def _to_engine(options: Options, client: EngineClient) -> int:
    name, address = options.words
    for flag in ("all-tags", "platform"):
        if options.given(flag):
            raise UsageError(f"--{flag} is for registries: an engine gets the one image it is told")
    push_to(client, name, address, quiet=options.on("quiet"))
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] NAME[:TAG] [ssh://HOST]",
    summary="Upload an image to a registry, or straight to another engine",
    flags=(
        switch("all-tags", "Push every tag of the name", short="a"),
        value("platform", "OS/ARCH", "Push only this platform of an image that has several"),
        switch("quiet", "Do not show progress", short="q"),
    ),
    run=_run,
    examples=(
        ("kedge push registry.example.com/team/app:1.2", "The name says where to"),
        ("kedge push -a registry.example.com/team/app", "All tags"),
        ("kedge push app:1.2 ssh://ann@server", "Without a registry: the layers missing there"),
    ),
    at_least=1,
    at_most=2,
    complete="image",
)
