"""Records of networks, endpoints and published ports in the engine's database.

The database is the last line of "never out twice": an address is unique within its network by
constraint. Endpoints live as long as a container runs, so their rows need not survive a power cut
(``durable=False``); networks must.
"""

import ipaddress
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from kedge.lib.database import Database, Value
from kedge.lib.jsontypes import Json
from kedge.network.model import Driver, Endpoint, EndpointExtras, Network, PublishedPort, Subnet

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS network_networks (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, driver TEXT NOT NULL,
        created_ns INTEGER NOT NULL, details TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS network_endpoints (
        id TEXT PRIMARY KEY, container_id TEXT NOT NULL, network_id TEXT NOT NULL,
        link TEXT NOT NULL, mac TEXT NOT NULL, ipv4 TEXT, ipv6 TEXT, gateway4 TEXT, gateway6 TEXT,
        is_leaving INTEGER NOT NULL DEFAULT 0,
        UNIQUE (network_id, ipv4), UNIQUE (network_id, ipv6))""",
    """CREATE TABLE IF NOT EXISTS network_ports (
        endpoint_id TEXT NOT NULL REFERENCES network_endpoints (id) ON DELETE CASCADE,
        protocol TEXT NOT NULL, host_ip TEXT NOT NULL, host_port INTEGER NOT NULL,
        container_port INTEGER NOT NULL,
        PRIMARY KEY (protocol, host_ip, host_port, endpoint_id))""",
    "CREATE INDEX IF NOT EXISTS network_ports_endpoint ON network_ports (endpoint_id)",
    # Ports of routed networks have no port of the host's to be unique by.
    """CREATE TABLE IF NOT EXISTS network_open_ports (
        endpoint_id TEXT NOT NULL REFERENCES network_endpoints (id) ON DELETE CASCADE,
        protocol TEXT NOT NULL, host_ip TEXT NOT NULL, container_port INTEGER NOT NULL,
        PRIMARY KEY (endpoint_id, protocol, host_ip, container_port))""",
    """CREATE TABLE IF NOT EXISTS network_endpoint_extras (
        endpoint_id TEXT PRIMARY KEY REFERENCES network_endpoints (id) ON DELETE CASCADE,
        details TEXT NOT NULL)""",
    # Links of networks that are gone, until the kernel has removed them.
    "CREATE TABLE IF NOT EXISTS network_leaving_links (link TEXT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS network_facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
_ENDPOINT_COLUMNS: Final = (
    "e.id, e.container_id, e.network_id, n.name, n.driver, e.link, e.mac, "
    "e.ipv4, e.ipv6, e.gateway4, e.gateway6, e.is_leaving, x.details"
)
_ENDPOINTS: Final = (
    f"SELECT {_ENDPOINT_COLUMNS} FROM network_endpoints e "  # noqa: S608 - constants only
    "JOIN network_networks n ON n.id = e.network_id "
    "LEFT JOIN network_endpoint_extras x ON x.endpoint_id = e.id ORDER BY e.rowid"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEndpoint:
    """An endpoint's record and whether its link is still being removed."""

    endpoint: Endpoint
    is_leaving: bool


class NetworkStore:
    """The tables of this package; every method is one transaction or joins the caller's."""

    def __init__(self, database: Database) -> None:
        """Make the tables where they are missing."""
        self.database = database
        database.ensure_schema(_SCHEMA)

    def fact(self, name: str) -> str | None:
        """Return a remembered fact, such as the engine's IPv6 prefix."""
        row = self.database.query_one("SELECT value FROM network_facts WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def remember(self, name: str, value: str) -> None:
        """Remember a fact for good."""
        self.database.execute(
            "INSERT INTO network_facts VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def networks(self) -> list[Network]:
        """Return all networks, oldest first."""
        rows = self.database.query(
            "SELECT id, name, driver, created_ns, details FROM network_networks "
            "ORDER BY created_ns, rowid"
        )
        return [_parse_network(row) for row in rows]

    def put_network(self, network: Network) -> None:
        """Write a network's record, new or changed."""
        self.database.execute(
            "INSERT INTO network_networks VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
            "SET name = excluded.name, details = excluded.details",
            (
                network.id,
                network.name,
                network.driver.value,
                network.created_ns,
                json.dumps(_network_details(network)),
            ),
        )

    def delete_network(self, network_id: str, leaving: Collection[str] = ()) -> None:
        """Forget a network and its endpoints; the links in ``leaving`` are still to be removed."""
        with self.database.transaction():
            self.database.execute("DELETE FROM network_networks WHERE id = ?", (network_id,))
            self.database.execute(
                "DELETE FROM network_endpoints WHERE network_id = ?", (network_id,)
            )
            for link in leaving:
                self.database.execute(
                    "INSERT OR IGNORE INTO network_leaving_links VALUES (?)", (link,)
                )

    def leaving_links(self) -> list[str]:
        """Return the links of networks that are gone, not known to be removed."""
        rows = self.database.query("SELECT link FROM network_leaving_links ORDER BY rowid")
        return [str(row[0]) for row in rows]

    def forget_links(self, links: Collection[str]) -> None:
        """Forget links that are removed."""
        with self.database.transaction(durable=False):
            for link in links:
                self.database.execute("DELETE FROM network_leaving_links WHERE link = ?", (link,))

    def endpoints(self) -> list[StoredEndpoint]:
        """Return all endpoints, those being removed included."""
        return [_parse_endpoint(row) for row in self.database.query(_ENDPOINTS)]

    def put_endpoint(self, endpoint: Endpoint) -> None:
        """Record a new endpoint."""
        with self.database.transaction(durable=False):
            self.database.execute(
                "INSERT INTO network_endpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    endpoint.id,
                    endpoint.container_id,
                    endpoint.network_id,
                    endpoint.link,
                    endpoint.mac,
                    _text(endpoint.ipv4),
                    _text(endpoint.ipv6),
                    _text(endpoint.gateway4),
                    _text(endpoint.gateway6),
                ),
            )
            if endpoint.extras != EndpointExtras():
                self.database.execute(
                    "INSERT INTO network_endpoint_extras VALUES (?, ?)",
                    (endpoint.id, json.dumps(_extras_details(endpoint.extras))),
                )

    def mark_leaving(self, endpoint_id: str) -> None:
        """Record that an endpoint is gone but its link and addresses are not yet free."""
        with self.database.transaction(durable=False):
            self.database.execute("DELETE FROM network_ports WHERE endpoint_id = ?", (endpoint_id,))
            self.database.execute(
                "UPDATE network_endpoints SET is_leaving = 1 WHERE id = ?", (endpoint_id,)
            )

    def delete_endpoints(self, endpoint_ids: list[str]) -> None:
        """Forget endpoints; their addresses may be given out again."""
        with self.database.transaction(durable=False):
            for endpoint_id in endpoint_ids:
                self.database.execute("DELETE FROM network_endpoints WHERE id = ?", (endpoint_id,))

    def put_ports(self, endpoint_id: str, ports: list[PublishedPort]) -> None:
        """Record an endpoint's published ports, added to those it has."""
        with self.database.transaction(durable=False):
            for port in ports:
                place: tuple[Value, ...] = (endpoint_id, port.protocol, port.host_ip)
                if port.host_port:
                    self.database.execute(
                        "INSERT INTO network_ports VALUES (?, ?, ?, ?, ?)",
                        (*place, port.host_port, port.container_port),
                    )
                else:
                    self.database.execute(
                        "INSERT INTO network_open_ports VALUES (?, ?, ?, ?)",
                        (*place, port.container_port),
                    )

    def ports(self) -> list[tuple[str, PublishedPort]]:
        """Return ``(endpoint id, port)`` of everything published."""
        rows = self.database.query(
            "SELECT endpoint_id, protocol, container_port, host_ip, host_port "
            "FROM network_ports UNION ALL "
            "SELECT endpoint_id, protocol, container_port, host_ip, 0 FROM network_open_ports"
        )
        return [
            (
                str(row[0]),
                PublishedPort(
                    protocol=str(row[1]),
                    container_port=int(str(row[2])),
                    host_ip=str(row[3]),
                    host_port=int(str(row[4])),
                ),
            )
            for row in rows
        ]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _network_details(network: Network) -> Json:
    return {
        "bridge": network.bridge,
        "parent": network.parent,
        "owns_link": network.owns_link,
        "is_internal": network.is_internal,
        "is_attachable": network.is_attachable,
        "enable_ipv4": network.enable_ipv4,
        "enable_ipv6": network.enable_ipv6,
        "options": dict(network.options),
        "ipam_options": dict(network.ipam_options),
        "labels": dict(network.labels),
        "subnets": [
            {
                "network": str(subnet.network),
                "gateway": str(subnet.gateway),
                "ip_range": _text(subnet.ip_range),
                "reserved": {name: str(item) for name, item in subnet.reserved.items()},
                "is_automatic": subnet.is_automatic,
            }
            for subnet in network.subnets
        ],
    }


def _parse_network(row: tuple[Value, ...]) -> Network:
    details = _object(json.loads(str(row[4])))
    return Network(
        id=str(row[0]),
        name=str(row[1]),
        driver=Driver(str(row[2])),
        created_ns=int(str(row[3])),
        bridge=str(details["bridge"]),
        parent=str(details.get("parent", "")),
        owns_link=bool(details.get("owns_link", True)),
        is_internal=bool(details["is_internal"]),
        is_attachable=bool(details["is_attachable"]),
        enable_ipv4=bool(details.get("enable_ipv4", True)),
        enable_ipv6=bool(details["enable_ipv6"]),
        options=_texts(details["options"]),
        ipam_options=_texts(details.get("ipam_options")),
        labels=_texts(details["labels"]),
        subnets=tuple(_parse_subnet(_object(item)) for item in _list(details["subnets"])),
    )


def _parse_subnet(item: dict[str, Json]) -> Subnet:
    ip_range = item["ip_range"]
    return Subnet(
        network=ipaddress.ip_network(str(item["network"])),
        gateway=ipaddress.ip_address(str(item["gateway"])),
        ip_range=None if ip_range is None else ipaddress.ip_network(str(ip_range)),
        reserved={
            name: ipaddress.ip_address(str(value))
            for name, value in _object(item.get("reserved")).items()
        },
        is_automatic=bool(item["is_automatic"]),
    )


def _parse_endpoint(row: tuple[Value, ...]) -> StoredEndpoint:
    ipv4, ipv6, gateway4, gateway6 = (None if item is None else str(item) for item in row[7:11])
    endpoint = Endpoint(
        id=str(row[0]),
        container_id=str(row[1]),
        network_id=str(row[2]),
        network_name=str(row[3]),
        driver=Driver(str(row[4])),
        link=str(row[5]),
        mac=str(row[6]),
        ipv4=None if ipv4 is None else ipaddress.IPv4Interface(ipv4),
        ipv6=None if ipv6 is None else ipaddress.IPv6Interface(ipv6),
        gateway4=None if gateway4 is None else ipaddress.IPv4Address(gateway4),
        gateway6=None if gateway6 is None else ipaddress.IPv6Address(gateway6),
        extras=EndpointExtras() if row[12] is None else _parse_extras(str(row[12])),
    )
    return StoredEndpoint(endpoint=endpoint, is_leaving=bool(row[11]))


def _extras_details(extras: EndpointExtras) -> Json:
    return {
        "ifname": extras.ifname,
        "link_local": [str(item) for item in extras.link_local],
        "sysctls": dict(extras.sysctls),
        "is_on_link": extras.is_on_link,
    }


def _parse_extras(text: str) -> EndpointExtras:
    details = _object(json.loads(text))
    return EndpointExtras(
        ifname=str(details["ifname"]),
        link_local=tuple(ipaddress.ip_interface(str(i)) for i in _list(details["link_local"])),
        sysctls=tuple((key, str(value)) for key, value in _object(details["sysctls"]).items()),
        is_on_link=bool(details["is_on_link"]),
    )


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _texts(value: Json) -> dict[str, str]:
    return {name: str(text) for name, text in _object(value).items()}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
