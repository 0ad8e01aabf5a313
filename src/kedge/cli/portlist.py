"""Published ports as text, as docker ps shows them. Pure."""

from kedge.lib.fields import number, text
from kedge.lib.jsontypes import JsonObject


def show_ports(ports: list[JsonObject]) -> str:
    """Return ``0.0.0.0:8080->80/tcp, 443/tcp``; runs of ports become ranges."""
    groups: dict[tuple[str, str], tuple[int, int]] = {}
    result: list[str] = []
    mapped: list[str] = []
    for port in sorted(ports, key=_order):
        private, ip, kind = number(port, "PrivatePort"), text(port, "IP"), text(port, "Type")
        if ip and number(port, "PublicPort") != private:
            mapped.append(
                f"{join_host_port(ip, str(number(port, 'PublicPort')))}->{private}/{kind}"
            )
            continue
        found = groups.get((ip, kind))
        if found and private == found[1] + 1:
            groups[ip, kind] = (found[0], private)
            continue
        if found:
            result.append(_show_group(ip, kind, *found))
        groups[ip, kind] = (private, private)
    result += [_show_group(*key, *group) for key, group in groups.items()]
    return ", ".join(result + mapped)


def _order(port: JsonObject) -> tuple[int, str, int, str]:
    return (
        number(port, "PrivatePort"),
        text(port, "IP"),
        number(port, "PublicPort"),
        text(port, "Type"),
    )


def _show_group(ip: str, kind: str, first: int, last: int) -> str:
    ports = str(first) if first == last else f"{first}-{last}"
    return f"{join_host_port(ip, ports)}->{ports}/{kind}" if ip else f"{ports}/{kind}"


def join_host_port(ip: str, port: str) -> str:
    """Return address and port, IPv6 in brackets."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
