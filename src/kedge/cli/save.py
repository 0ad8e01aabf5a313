"""``kedge save``: images as one archive, for ``kedge load`` on another host."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, many, value
from kedge.cli.platforms import check_platform, platform_parameter
from kedge.cli.sink import check_sink, write_sink
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient, Query


def _run(options: Options, client: EngineClient) -> int:
    output = options.text("output")
    check_sink(output, "save")
    query: Query = {
        "names": options.words,
        "platform": platform_parameter(options.text("platform")),
        "since": options.texts("since"),
    }
    write_sink(output, client.get("/images/get", query).chunks())
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] IMAGE...",
    summary="Write images with all their layers as one tar archive",
    flags=(
        value("output", "FILE", "Write to a file, not to standard output", short="o",
              complete="file"),
        value("platform", "OS/ARCH", "Platform to save", check=check_platform),
        many("since", "IMAGE", "Leave out this image's layers: who loads it has them",
             complete="image"),
    ),
    run=_run,
    examples=(
        ("kedge save -o app.tar app:1.2", "One image"),
        ("kedge save app:1.2 redis:7 | ssh other kedge load", "Two images to another host"),
        ("kedge save --since app:1.1 -o update.tar app:1.2", "Only what is new since 1.1"),
    ),
    at_least=1,
    complete="image",
)  # fmt: skip
