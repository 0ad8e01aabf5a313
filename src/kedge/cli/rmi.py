"""``kedge rmi``: remove images."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.each import for_each
from kedge.cli.flags import Options, many, switch
from kedge.cli.platforms import check_platform, platform_parameter
from kedge.client.http import EngineClient, Query, percent_encode
from kedge.errdefs import NotFoundError
from kedge.lib.fields import text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


def _run(options: Options, client: EngineClient) -> int:
    query: Query = {
        "force": options.on("force"),
        "noprune": options.on("no-prune"),
        "platforms": [platform_parameter(text) for text in options.texts("platform")],
    }

    def remove(name: str) -> None:
        try:
            answer = client.delete(f"/images/{percent_encode(name, keep='/:@')}", query).objects()
        except NotFoundError as error:
            if not options.on("force"):
                raise
            sys.stderr.write(f"kedge: {error}\n")
            return
        for entry in answer:
            untagged, deleted = text(entry, "Untagged"), text(entry, "Deleted")
            sys.stdout.write(f"Untagged: {untagged}\n" if untagged else f"Deleted: {deleted}\n")
        sys.stdout.flush()

    return for_each(options.words, remove, echo=False)


COMMAND: Final = Command(
    usage="[OPTIONS] IMAGE...",
    summary="Remove names of images, and the images whose last name goes",
    flags=(
        switch("force", "Remove the image although a stopped container uses it", short="f"),
        switch("no-prune", "Keep parents without a name"),
        many("platform", "OS/ARCH", "Remove this platform only", check=check_platform),
    ),
    run=_run,
    examples=(
        ("kedge rmi my-app:old", "Remove one name"),
        ("kedge rmi $(kedge images -qf dangling=true)", "Remove images without a name"),
    ),
    at_least=1,
    complete="image",
)
