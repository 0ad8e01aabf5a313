"""``kedge tag``: another name for an image."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.references import parse_reference

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options


def _run(options: Options, client: EngineClient) -> int:
    source, target = options.words
    reference = parse_reference(target)
    if reference.digest:
        raise InvalidParameterError(f"refusing to create a tag with a digest reference: {target}")
    query = {"repo": f"{reference.domain}/{reference.path}", "tag": reference.tag or "latest"}
    client.post(f"/images/{percent_encode(source, keep='/:@')}/tag", query).read()
    return OK


COMMAND: Final = Command(
    usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    summary="Give an image another name; both names then mean the same image",
    flags=(),
    run=_run,
    examples=(
        (
            "kedge tag my-app:latest registry.example.com/team/my-app:1.2",
            "Name an image for a registry",
        ),
    ),
    at_least=2,
    at_most=2,
    complete="image",
)
