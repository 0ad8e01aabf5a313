"""``kedge volume create``: make a volume, named or not, and print its name."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, many, value
from kedge.cli.options.environment import check_label, to_map
from kedge.lib.fields import text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    volume = client.post(
        "/volumes/create",
        None,
        {
            "Name": options.words[0] if options.words else "",
            "Driver": options.text("driver"),
            "DriverOpts": {**to_map(options.texts("opt"))},
            "Labels": {**to_map(options.texts("label"))},
        },
    ).object()
    sys.stdout.write(f"{text(volume, 'Name')}\n")
    return OK


def check_option(pair: str) -> None:
    """Refuse an option that is no ``name=value``.

    Raises:
        UsageError: It is none.
    """
    name, equals, _ = pair.partition("=")
    if not name or not equals:
        raise UsageError(f"invalid option '{pair}': want name=value")


COMMAND: Final = Command(
    usage="[OPTIONS] [VOLUME]",
    summary="Create a volume; without a name it gets one",
    flags=(
        value("driver", "NAME", "Driver of the volume", short="d", default="local"),
        many("label", "NAME=VALUE", "Set a label", check=check_label),
        many(
            "opt", "NAME=VALUE", "Option of the driver: type, device, o", short="o",
            check=check_option,
        ),
    ),
    run=_run,
    examples=(
        ("kedge volume create data", "A volume called data"),
        (
            "kedge volume create -o type=tmpfs -o device=tmpfs -o o=size=64m scratch",
            "A volume in memory",
        ),
    ),
    at_most=1,
)  # fmt: skip
