"""``kedge update``: other limits and another restart policy for containers."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.containerflags import CONTAINER_FLAGS
from kedge.cli.createrequest import update_fields
from kedge.cli.each import for_each
from kedge.cli.flags import Options, UsageError
from kedge.client.http import EngineClient, percent_encode
from kedge.lib.fields import texts
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_NAMES: Final = frozenset(
    {
        *("blkio-weight", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime"),
        *("cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems", "memory", "memory-reservation"),
        *("memory-swap", "pids-limit", "restart"),
    }
)
_FLAGS: Final = tuple(flag._replace(group="") for flag in CONTAINER_FLAGS if flag.name in _NAMES)


def _run(options: Options, client: EngineClient) -> int:
    if not any(options.given(name) for name in _NAMES):
        raise UsageError("you must provide one or more flags when using this command")
    request = update_fields(options, _NAMES)
    warnings: list[str] = []

    def update(name: str) -> None:
        answer = client.post(f"/containers/{percent_encode(name)}/update", None, request).object()
        warnings.extend(texts(answer, "Warnings"))

    code = for_each(options.words, update)
    sys.stderr.write("".join(f"kedge: warning: {warning}\n" for warning in warnings))
    return code


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER...",
    summary="Change limits and restart policy of containers, running or not",
    flags=_FLAGS,
    run=_run,
    examples=(
        ("kedge update -m 512m --memory-swap 1g web", "More memory"),
        ("kedge update --restart unless-stopped web db", "Start them again when they end"),
    ),
    at_least=1,
    complete="container",
)
