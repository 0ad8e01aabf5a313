"""``kedge commit``: an image from what a container has become."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, many, switch, value
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import text
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.references import parse_reference

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient, Query


def _run(options: Options, client: EngineClient) -> int:
    return commit(client, options, *(*options.words, "")[:2])


def commit(client: EngineClient, options: Options, container: str, target: str) -> int:
    """Make an image from a container as the flags of `COMMIT_FLAGS` say, and print its id.

    Raises:
        InvalidParameterError: ``target`` is no name for an image.
    """
    repository, tag = split_target(target) if target else ("", "")
    query: Query = {
        "container": container,
        "repo": repository,
        "tag": tag,
        "author": options.text("author"),
        "comment": options.text("message"),
        "changes": options.texts("change"),
        # The engine pauses unless told otherwise.
        "pause": "" if options.on("pause") else "0",
    }
    answer = client.post("/commit", query, {}).object()
    sys.stdout.write(f"{text(answer, 'Id')}\n")
    return OK


def split_target(name: str) -> tuple[str, str]:
    """Return repository and tag of an image that is to be made.

    Raises:
        InvalidParameterError: It is no name, or one with a digest.
    """
    reference = parse_reference(name)
    if reference.digest:
        raise InvalidParameterError(f"refusing to create a tag with a digest reference: {name}")
    return f"{reference.domain}/{reference.path}", reference.tag or "latest"


COMMIT_FLAGS: Final = (
    value("author", "NAME", "Author of the image", short="a"),
    many("change", "INSTRUCTION", "Dockerfile instruction to apply, such as 'CMD [\"sh\"]'",
         short="c"),
    value("message", "TEXT", "What the change is about", short="m"),
    switch("pause", "Pause the container meanwhile", short="p", default=True),
)  # fmt: skip
COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    summary="Make an image from a container's files, and print its id",
    flags=COMMIT_FLAGS,
    run=_run,
    examples=(
        ("kedge commit web my-web:tested", "Keep a container as an image"),
        ("kedge commit -c 'CMD [\"nginx\"]' web my-web", "With another command"),
    ),
    at_least=1,
    at_most=2,
    complete="container",
)
