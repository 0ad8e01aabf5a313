"""What an engine says about its networks, and what is in the kernel of its machine, compared.

The machine is a network namespace of the test's own, so everything found there that the engine
does not speak of is left over.
"""

import contextlib
import json
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from typing import NamedTuple

import dns.message
import dns.query
import dns.rdatatype

from kedge.lib.jsontypes import Json, JsonObject
from kedge.network.names import engine_tag
from tests.integration.engine_networks.machines import EngineMachine, run_shell
from tests.integration.network_live.lab import TIMEOUT_S, Space

_OWN_LINKS = {"lo", "eth0"}


class Endpoint(NamedTuple):
    """A running container in a bridge network, as inspected."""

    container: str
    network: str
    addresses: frozenset[str]
    mac: str


class Told(NamedTuple):
    """What the engine says."""

    bridges: dict[str, str]
    """By network id; of the drivers that have one."""
    gateways: dict[str, set[str]]
    """Addresses with prefix, by network id."""
    endpoints: list[Endpoint]
    ports: set[tuple[str, str, int, int]]
    """Protocol, host address, host port, container port."""
    names: dict[str, str]
    """Name by id, of running containers."""


def told(machine: EngineMachine) -> Told:
    """Ask the engine."""
    engine = machine.engine
    bridges: dict[str, str] = {}
    gateways: dict[str, set[str]] = {}
    endpoints: list[Endpoint] = []
    ports: set[tuple[str, str, int, int]] = set()
    names: dict[str, str] = {}
    with contextlib.closing(engine.client()) as client:
        for network in client.get("/networks").objects():
            if network["Driver"] == "bridge":
                key = str(network["Id"])
                bridges[key] = f"br-{key[:12]}"
                if network["Name"] == "bridge":
                    bridges[key] = f"kedge-{engine_tag(str(engine.root / 'data'))}"
                gateways[key] = {
                    f"{item['Gateway']}/{str(item['Subnet']).partition('/')[2]}"
                    for item in _objects(_object(network["IPAM"])["Config"])
                }
        for item in client.get("/containers/json").objects():
            if item["State"] != "running":
                continue
            found = client.get(f"/containers/{item['Id']}/json").object()
            names[str(found["Id"])] = str(found["Name"]).removeprefix("/")
            settings = _object(found["NetworkSettings"])
            endpoints += _endpoints(str(found["Id"]), settings)
            ports.update(_ports(settings))
    return Told(bridges, gateways, endpoints, ports, names)


def _endpoints(container: str, settings: JsonObject) -> Iterator[Endpoint]:
    for value in _object(settings["Networks"]).values():
        one = _object(value)
        addresses = (
            (one["IPAddress"], one["IPPrefixLen"]),
            (one["GlobalIPv6Address"], one["GlobalIPv6PrefixLen"]),
        )
        yield Endpoint(
            container,
            str(one["NetworkID"]),
            frozenset(f"{address}/{length}" for address, length in addresses if address),
            str(one["MacAddress"]),
        )


def _ports(settings: JsonObject) -> Iterator[tuple[str, str, int, int]]:
    for inner, bindings in _object(settings["Ports"]).items():
        number, _, protocol = inner.partition("/")
        for binding in _objects(bindings or []):
            yield protocol, str(binding["HostIp"]), int(str(binding["HostPort"])), int(number)


def differences(machine: EngineMachine) -> list[str]:
    """Return what is there and should not be, or the other way round, of an engine at rest."""
    said = told(machine)
    used = {item.network for item in said.endpoints}
    links = links_of(machine)
    wrong = [*_bridges(machine, said, links, used), *_rules(machine, said, used)]
    wrong += _compare("listening", _listening(machine), {item[:3] for item in said.ports})
    for container, name in said.names.items():
        mine = [item for item in said.endpoints if item.container == container]
        with contextlib.closing(machine.network_of(name)) as space:
            wrong += _inside(name, space, mine)
            wrong += _asked(name, space, said, mine)
    return wrong


def _bridges(
    machine: EngineMachine, said: Told, links: dict[str, JsonObject], used: set[str]
) -> Iterator[str]:
    """Compare bridges and the ends of veths in them, and the bridges' addresses and routes."""
    there = set(links) - _OWN_LINKS
    veths = {name for name in there if name.startswith("veth")}
    needed = {said.bridges[key] for key in used}
    yield from (f"missing bridge {name}" for name in sorted(needed - there))
    yield from (f"stray link {n}" for n in sorted(there - veths - set(said.bridges.values())))
    for key, bridge in said.bridges.items():
        ports = [name for name in veths if links[name].get("master") == bridge]
        wanted = [item for item in said.endpoints if item.network == key]
        if len(ports) != len(wanted):
            yield f"{bridge} has links {ports} for {wanted}"
        if bridge in there:
            found = _addresses(links[bridge])
            # One that nobody uses yet may be half made: its first endpoint makes the rest.
            expected = said.gateways[key] if wanted else said.gateways[key] & found
            yield from _compare(f"{bridge} with", found, expected)
    loose = [name for name in veths if not links[name].get("master")]
    yield from (f"loose link {name}" for name in loose)
    routed = machine.sh("{ ip route; ip -6 route; } | grep -v 'dev eth0' | sed 's/.* dev //'")
    yield from (f"stray route by {n}" for n in {w.split()[0] for w in routed.splitlines()} - there)


def _rules(machine: EngineMachine, said: Told, used: set[str]) -> Iterator[str]:
    """Compare what the sets of the engine's two tables hold."""
    sets: dict[str, set[str]] = {}
    tables: list[str] = []
    for item in json.loads(machine.sh("nft -j list ruleset"))["nftables"]:
        if "table" in item:
            tables.append(f"{item['table']['family']} {item['table']['name']}")
        for kind in ("set", "map"):
            if kind in item:
                found = {json.dumps(e) for e in item[kind].get("elem", [])}
                sets[item[kind]["name"]] = found
    tag = engine_tag(str(machine.engine.root / "data"))
    wanted: set[str] = set()
    if tables or used:
        wanted = {f"inet kedge-{tag}", f"bridge kedge-{tag}"}
    yield from _compare("table", set(tables), wanted)
    if not tables:
        return
    bridges = {json.loads(text) for text in sets["bridges"]}
    yield from (f"rules without {b}" for b in {said.bridges[key] for key in used} - bridges)
    yield from _compare("stray rules for", bridges - set(said.bridges.values()), set())
    macs = {json.loads(text) for text in sets["macs"]}
    yield from _compare("guarded", macs, {item.mac for item in said.endpoints})
    any_address = {*sets["ports4"], *sets["ports6"]}
    published = {port for _protocol, _address, port, _inner in said.ports}
    ruled = {json.loads(text)[0]["concat"][1] for text in any_address}
    ruled |= {json.loads(t)[0]["concat"][2] for t in sets["address_ports4"]}
    yield from _compare("ruled port", {str(p) for p in ruled}, {str(p) for p in published})


def _inside(name: str, space: Space, mine: list[Endpoint]) -> Iterator[str]:
    """Compare the addresses of a container's links, by their MAC addresses."""
    links: list[JsonObject] = json.loads(space.run(partial(run_shell, "ip -j addr")))
    found = {str(link["address"]): _addresses(link) for link in links if link["ifname"] != "lo"}
    yield from _compare(f"{name} link", set(found), {item.mac for item in mine})
    for item in mine:
        yield from _compare(f"{name} address", found.get(item.mac, set()), set(item.addresses))


def _asked(name: str, space: Space, said: Told, mine: list[Endpoint]) -> Iterator[str]:
    """Have a container ask for everybody: one of the networks they share answers, or nobody."""
    own = {item.network for item in mine}
    for container, other in said.names.items():
        possible = [
            {address.partition("/")[0] for address in item.addresses}
            for item in said.endpoints
            if item.container == container and item.network in own
        ]
        answer = space.run(partial(resolve, other))
        nobody: list[set[str]] = [set()]
        if answer not in (possible or nobody):
            yield f"{name} is told of {other}: {sorted(answer)}, which is none of {possible}"


def resolve(name: str) -> set[str]:
    """Ask a container's name server for both kinds of address; call it inside."""
    found: set[str] = set()
    for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        question = dns.message.make_query(name, kind)
        answer = dns.query.udp(question, "127.0.0.11", timeout=TIMEOUT_S)
        for records in answer.answer:
            # A line for each: name, TTL, class, type, data.
            found.update(line.split()[4] for line in records.to_text().splitlines())
    return found


def links_of(machine: EngineMachine) -> dict[str, JsonObject]:
    """Return the machine's links with their addresses, by name."""
    links: list[JsonObject] = json.loads(machine.sh("ip -j addr"))
    return {str(item["ifname"]): item for item in links}


def _addresses(link: JsonObject) -> set[str]:
    return {
        f"{item['local']}/{item['prefixlen']}"
        for item in _objects(link["addr_info"])
        if item.get("scope") == "global"
    }


def _listening(machine: EngineMachine) -> set[tuple[str, str, int]]:
    found: set[tuple[str, str, int]] = set()
    for line in machine.sh("ss -Htuln").splitlines():
        fields = line.split()
        address, _, port = fields[4].rpartition(":")
        found.add((fields[0], "0.0.0.0" if address == "*" else address.strip("[]"), int(port)))
    return found


def _compare(kind: str, there: AbstractSet[object], wanted: AbstractSet[object]) -> list[str]:
    return [f"{kind} {item}: stray" for item in sorted(map(str, there - wanted))] + [
        f"{kind} {item}: missing" for item in sorted(map(str, wanted - there))
    ]


def _object(value: Json) -> JsonObject:
    assert isinstance(value, dict)
    return value


def _objects(value: Json) -> list[JsonObject]:
    assert isinstance(value, list)
    return [_object(item) for item in value]
