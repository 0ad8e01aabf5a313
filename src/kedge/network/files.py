"""The text of a container's /etc/hosts and /etc/resolv.conf.

Formats of ``hosts(5)`` and ``resolv.conf(5)``; content as Docker writes it. The `make_`
function and `hosts` are pure; the others read the host's files as they are now.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final

from kedge.network.ipam import IPNetwork

_HOSTS: Final = "/etc/hosts"
_RESOLV_CONF: Final = "/etc/resolv.conf"
_SYSTEMD_RESOLV_CONF: Final = "/run/systemd/resolve/resolv.conf"
FALLBACK_NAMESERVERS: Final = ("8.8.8.8", "8.8.4.4")
"""Used, as Docker does, when the host names no resolver a container could reach."""

_LOCALHOST: Final = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


def hosts(
    hostname: str, domainname: str, addresses: Sequence[str], extra: Sequence[tuple[str, str]] = ()
) -> str:
    """Return /etc/hosts of a container with a network namespace of its own.

    Args:
        hostname: The container's host name.
        domainname: Its domain; empty for none.
        addresses: Its own addresses, each of which gets the host name.
        extra: ``(name, address)`` of ``--add-host``.
    """
    names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    lines = [*_LOCALHOST, *((address, name) for name, address in extra)]
    lines += [(address, names) for address in addresses if hostname]
    return "".join(f"{address}\t{text}\n" for address, text in lines)


def changed_hosts(
    text: str,
    hostname: str,
    domainname: str,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
) -> str:
    """Return /etc/hosts with the container's own addresses added and removed.

    Only lines as `hosts` wrote them for these addresses go; what the container has added stays.
    """
    names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    own = {f"{address}\t{names}" for address in remove}
    kept = [line for line in text.splitlines() if line not in own]
    kept += [f"{address}\t{names}" for address in add if hostname]
    return "".join(f"{line}\n" for line in kept)


def host_hosts(extra: Sequence[tuple[str, str]] = (), *, path: str = _HOSTS) -> str:
    """Return /etc/hosts of a container on the host's network: the host's own, and ``extra``."""
    text = _read(path)
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(f"{address}\t{name}\n" for name, address in extra)


def resolv_conf(
    *,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    own_namespace: bool = True,
    has_ipv6: bool = True,
    name_server: str = "",
) -> str:
    """Return /etc/resolv.conf of a container, made from the host's files as they are now.

    Args:
        dns: Name servers instead of the host's.
        search: Search domains instead of the host's; ``.`` alone stands for none.
        options: Resolver options instead of the host's.
        own_namespace: Off for the host's network, where the host's resolver can be reached.
        has_ipv6: Whether the container can reach an IPv6 name server.
        name_server: The embedded one, instead of all others.
    """
    return make_resolv_conf(
        _read(_RESOLV_CONF),
        _read(_SYSTEMD_RESOLV_CONF),
        dns=dns,
        search=search,
        options=options,
        own_namespace=own_namespace,
        has_ipv6=has_ipv6,
        name_server=name_server,
    )


def make_resolv_conf(
    host: str,
    upstream: str,
    *,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    own_namespace: bool = True,
    has_ipv6: bool = True,
    name_server: str = "",
) -> str:
    """Return /etc/resolv.conf of a container.

    A name server on the host's loopback means the container's own loopback inside, where nobody
    answers. Without it, and when no other is left, come the servers systemd-resolved asks
    (``upstream``), then `FALLBACK_NAMESERVERS`.

    Args:
        host: The host's /etc/resolv.conf.
        upstream: The file systemd-resolved writes for clients that cannot use its stub.
        dns: Name servers instead of the host's.
        search: Search domains instead of the host's; ``.`` alone stands for none.
        options: Resolver options instead of the host's.
        own_namespace: Off for the host's network.
        has_ipv6: Whether the container can reach an IPv6 name server.
        name_server: The embedded one, instead of all others: it is asked for bare names first, as
            containers are called, and passes on what it does not know.
    """
    if not (own_namespace or dns or search or options):
        return host
    servers = [name_server] if name_server else list(dns)
    if not servers:
        servers = _values(host, "nameserver")
        if own_namespace:
            servers = (
                _reachable(servers, has_ipv6=has_ipv6)
                or _reachable(_values(upstream, "nameserver"), has_ipv6=has_ipv6)
                or list(FALLBACK_NAMESERVERS)
            )
    domains = [item for item in search if item != "."] if search else _search(host)
    flags = list(options) or [flag for line in _values(host, "options") for flag in line.split()]
    if name_server and not any(flag.startswith("ndots:") for flag in flags):
        flags.append("ndots:0")
    lines = [f"nameserver {server}\n" for server in servers]
    if domains:
        lines.append(f"search {' '.join(domains)}\n")
    if flags:
        lines.append(f"options {' '.join(flags)}\n")
    return "".join(lines)


def load_nameserver_networks() -> list[IPNetwork]:
    """Return the host's name servers as networks of one address, which no subnet may cover."""
    texts = _read(_RESOLV_CONF), _read(_SYSTEMD_RESOLV_CONF)
    return [
        ipaddress.ip_network(server)
        for text in texts
        for server in _reachable(_values(text, "nameserver"), has_ipv6=True)
    ]


def _values(text: str, keyword: str) -> list[str]:
    """Return what follows ``keyword`` on each line that begins with it."""
    found: list[str] = []
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        if "\t" in name:
            name, _, value = line.strip().partition("\t")
        value = value.split("#")[0].split(";")[0].strip()
        if name == keyword and value:
            found.append(value)
    return found


def _search(text: str) -> list[str]:
    """Return the search list; as in the resolver, the last ``search`` or ``domain`` line wins."""
    domains: list[str] = []
    for line in text.splitlines():
        fields = line.split()
        if fields and fields[0] in {"search", "domain"}:
            domains = fields[1:]
    return domains


def _reachable(servers: Sequence[str], *, has_ipv6: bool) -> list[str]:
    kept: list[str] = []
    for server in servers:
        try:
            address = ipaddress.ip_address(server)
        except ValueError:
            continue
        # A scope names an interface of the host (fe80::1%eth0), which the container lacks.
        is_local = address.is_loopback or address.is_link_local or "%" in server
        if not is_local and (address.version == 4 or has_ipv6):
            kept.append(server)
    return kept


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
