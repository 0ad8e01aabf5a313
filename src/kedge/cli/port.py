"""``kedge port``: where a container's ports are published."""

from __future__ import annotations

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.output import print_lines
from kedge.cli.portlist import join_host_port
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import NotFoundError
from kedge.lib.fields import mapping, objects, text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.cli.flags import Options
    from kedge.lib.jsontypes import Json, JsonObject


def _run(options: Options, client: EngineClient) -> int:
    name = options.words[0]
    container = client.get(f"/containers/{percent_encode(name)}/json").object()
    ports = mapping(container, "NetworkSettings", "Ports")
    if len(options.words) == 1:
        print_lines(
            [
                f"{port} -> {where}"
                for port in sorted(ports, key=port_order)
                for where in places(ports[port])
            ]
        )
        return OK
    wanted = options.words[1]
    port, _, protocol = wanted.partition("/")
    found = places(ports.get(f"{port}/{protocol or 'tcp'}"))
    if not found:
        raise NotFoundError(f"no public port '{wanted}' published for {name}")
    print_lines(found)
    return OK


def places(bindings: Json) -> list[str]:
    """Return ``ADDRESS:PORT`` of each place a port is published at."""
    holder: JsonObject = {"": bindings}
    return [
        join_host_port(text(binding, "HostIp") or "0.0.0.0", text(binding, "HostPort"))  # noqa: S104 - shown, not bound
        for binding in objects(holder, "")
    ]


def port_order(port: str) -> tuple[int, str]:
    """Order ``80/tcp`` by number."""
    number, _, protocol = port.partition("/")
    return (int(number) if number.isdigit() else 0, protocol)


COMMAND: Final = Command(
    usage="CONTAINER [PORT[/PROTOCOL]]",
    summary="Show where the ports of a container can be reached",
    flags=(),
    run=_run,
    examples=(
        ("kedge port web", "All published ports"),
        ("kedge port web 80/tcp", "The address of one"),
    ),
    at_least=1,
    at_most=2,
    complete="container",
)
