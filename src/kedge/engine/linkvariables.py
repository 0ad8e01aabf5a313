"""What a container on the default bridge is told of another it is linked to. Pure.

Names, order and forms are those of moby's ``daemon/links``: the environment describes the other
container's exposed ports and repeats its variables.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kedge.engine.ports import Port

_UNTOLD = frozenset({"HOME", "PATH"})


class LinkedContainer(NamedTuple):
    """The other end of a link."""

    alias: str
    name: str
    hostname: str
    address: str
    ports: Sequence[Port]
    env: Sequence[str]


def link_variables(parent: str, linked: LinkedContainer) -> list[str]:
    """Return the variables a container called ``parent`` gets for a link."""
    prefix = linked.alias.upper().replace("-", "_")
    ports = sorted(linked.ports, key=lambda port: (port.number, port.protocol != "tcp"))
    variables = _ranges(prefix, linked.address, ports)
    first = min(ports, key=lambda port: (port.protocol != "tcp", port.number), default=None)
    if first is not None:
        variables.append(f"{prefix}_PORT={_url(linked.address, first)}")
    for port in ports:
        stem = f"{prefix}_PORT_{port.number}_{port.protocol.upper()}"
        variables.append(f"{stem}={_url(linked.address, port)}")
        variables.append(f"{stem}_ADDR={linked.address}")
        variables.append(f"{stem}_PORT={port.number}")
        variables.append(f"{stem}_PROTO={port.protocol}")
    variables.append(f"{prefix}_NAME=/{parent}/{linked.alias}")
    for item in linked.env:
        name, equals, value = item.partition("=")
        if equals and name not in _UNTOLD:
            variables.append(f"{prefix}_ENV_{name}={value}")
    return variables


def _ranges(prefix: str, address: str, ports: Sequence[Port]) -> list[str]:
    """Return what is said of runs of ports that follow each other."""
    variables: list[str] = []
    runs = itertools.groupby(
        enumerate(ports), key=lambda pair: (pair[1].protocol, pair[1].number - pair[0])
    )
    for _, pairs in runs:
        run = [port for _, port in pairs]
        if len(run) == 1:
            continue
        first, last = run[0], run[-1]
        stem = f"{prefix}_PORT_{first.number}_{first.protocol.upper()}"
        variables.append(f"{stem}_START={_url(address, first)}")
        variables.append(f"{stem}_ADDR={address}")
        variables.append(f"{stem}_PROTO={first.protocol}")
        variables.append(f"{stem}_PORT_START={first.number}")
        variables.append(f"{stem}_END={_url(address, last)}")
        variables.append(f"{stem}_PORT_END={last.number}")
    return variables


def _url(address: str, port: Port) -> str:
    return f"{port.protocol}://{address}:{port.number}"


def host_names(linked: LinkedContainer) -> str:
    """Return the names of a link's line in /etc/hosts."""
    return " ".join(dict.fromkeys((linked.alias, linked.hostname, linked.name)))


def moved_hosts(text: str, names: str, address: str) -> str:
    """Return /etc/hosts with the line of ``names`` at another address; what is not there stays so.

    Args:
        text: As it is.
        names: As `host_names` returned them.
        address: The new one.
    """

    def moved(line: str) -> str:
        return f"{address}\t{names}" if _ends(line.partition("\t")[2]) == _ends(names) else line

    return "".join(f"{moved(line)}\n" for line in text.splitlines())


def hosts_without(text: str, names: Iterable[str]) -> str:
    """Return /etc/hosts without the lines of links that are gone."""
    gone = [_ends(each) for each in names]
    kept = (line for line in text.splitlines() if _ends(line.partition("\t")[2]) not in gone)
    return "".join(f"{line}\n" for line in kept)


def _ends(names: str) -> list[str]:
    # Alias and host name. What follows changes when the linked container gets another name; an
    # alias alone may also be a line of --add-host.
    return names.split(" ")[:2]
