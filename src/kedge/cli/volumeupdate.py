"""``kedge volume update``: only volumes of a cluster can change, and the engine says so."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, value
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import mapping, number
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import JsonObject


def _run(options: Options, client: EngineClient) -> int:
    name = options.words[0]
    path = f"/volumes/{percent_encode(name)}"
    volume = client.get(path).object()
    cluster = mapping(volume, "ClusterVolume")
    if not cluster:
        raise InvalidParameterError(
            f"can only update cluster volumes, and {name} is none: "
            "to change a local volume, make another one"
        )
    spec: JsonObject = {**mapping(cluster, "Spec"), "Availability": options.text("availability")}
    version = str(number(cluster, "Version", "Index"))
    client.request(
        "PUT", path, {"version": version}, body=_encode(spec), content_type="application/json"
    ).read()
    sys.stdout.write(f"{name}\n")
    return OK


def _encode(spec: JsonObject) -> bytes:
    import json  # noqa: PLC0415 - rarely needed

    return json.dumps({"Spec": spec}).encode()


COMMAND: Final = Command(
    usage="[OPTIONS] VOLUME",
    summary="Change a volume of a cluster; local volumes cannot be changed",
    flags=(
        value(
            "availability",
            "active|pause|drain",
            "Whether the cluster may use it",
            default="active",
            complete="active|pause|drain",
        ),
    ),
    run=_run,
    examples=(("kedge volume update --availability drain shared", "Take it out of use"),),
    at_least=1,
    at_most=1,
    complete="volume",
)
