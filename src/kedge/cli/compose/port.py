"""``kedge compose port``: where a service's ports are published."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.selecting import INDEX_FLAG, find_one
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, value
from kedge.cli.output import print_lines
from kedge.cli.port import places, port_order
from kedge.client.http import EngineClient
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.fields import mapping


def _run(options: Options, client: EngineClient) -> int:
    service, wanted = (*options.words, "")[:2]
    protocol = options.text("protocol")
    if protocol not in {"tcp", "udp", "sctp"}:
        raise InvalidParameterError(f"unknown protocol {protocol}: want tcp, udp or sctp")
    if wanted and not (wanted.isascii() and wanted.isdigit()):
        raise InvalidParameterError(f"invalid port: {wanted}: want a number")
    container = find_one(options, client, service)
    record = client.get(f"/containers/{container.id}/json").object()
    ports = mapping(record, "NetworkSettings", "Ports")
    if not wanted:
        print_lines(
            [
                f"{port} -> {where}"
                for port in sorted(ports, key=port_order)
                for where in places(ports[port])
            ]
        )
        return OK
    found = places(ports.get(f"{wanted}/{protocol}"))
    if not found:
        published = ", ".join(sorted((p for p in ports if ports[p]), key=port_order)) or "none"
        raise NotFoundError(
            f"no port {wanted}/{protocol} for container {container.name}: published: {published}"
        )
    print_lines(found[:1])
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] SERVICE [PRIVATE_PORT]",
    summary="Show where a port of a service can be reached",
    flags=(
        INDEX_FLAG,
        value("protocol", "NAME", "tcp, udp or sctp", default="tcp", complete="tcp|udp|sctp"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose port web 80", "Address and port of one"),
        ("kedge compose port web", "All published ports of a service"),
    ),
    at_least=1,
    at_most=2,
    complete="service",
)
