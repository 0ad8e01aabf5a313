"""Networks through the official CLI: every flag, what inspect shows, Docker's words for errors."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from kedge.lib.jsontypes import JsonObject
from tests.engine import Engine

pytestmark = pytest.mark.interop

PREFIX: Final = "com.docker.network"
SLEEP: Final = ("busybox", "sleep", "3600")


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    yield shared_engine
    containers = shared_engine.docker("ps", "-aq").stdout.split()
    if containers:
        shared_engine.docker("rm", "-f", *containers)
    shared_engine.docker("network", "prune", "-f")


def refusal(engine: Engine, *words: str) -> str:
    """Return the only line that says why a command failed."""
    done = engine.docker(*words, check=False)
    assert done.returncode != 0, words
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    # The CLI adds a hint of its own, and the code where several objects were named.
    said = [line for line in lines if not line.startswith(("Run 'docker", "exit status"))]
    assert len(said) == 1, (words, done.stderr)
    return said[0].removeprefix("docker: ").removeprefix("Error response from daemon: ")


def shown(engine: Engine, *words: str) -> JsonObject:
    found: JsonObject = json.loads(engine.docker(*words, "--format", "{{json .}}").stdout)
    return found


def member(engine: Engine, container: str, network: str) -> JsonObject:
    template = f"{{{{json (index .NetworkSettings.Networks {json.dumps(network)})}}}}"
    found: JsonObject = json.loads(engine.docker("inspect", "-f", template, container).stdout)
    return found


def inside(engine: Engine, container: str, command: str) -> str:
    return engine.docker("exec", container, "sh", "-c", command).stdout


def test_every_flag_of_create_is_what_inspect_shows(engine: Engine) -> None:
    created = engine.docker(
        *("network", "create", "--driver", "bridge", "--attachable", "--internal", "--ipv6"),
        *("--subnet", "10.182.0.0/16", "--ip-range", "10.182.5.0/24", "--gateway", "10.182.0.9"),
        *(
            "--aux-address",
            "router=10.182.5.0",
            "--subnet",
            "fd82::/64",
            "--ipam-driver",
            "default",
        ),
        *("--ipam-opt", "a=b"),
        *("--label", "tier=back", "--label", "empty", "-o", f"{PREFIX}.driver.mtu=1400"),
        *("-o", f"{PREFIX}.bridge.name=kt-full", "full"),
    ).stdout.strip()
    found = shown(engine, "network", "inspect", "full")
    assert found["Id"] == created
    assert {
        key: found[key]
        for key in ("Name", "Scope", "Driver", "EnableIPv4", "EnableIPv6", "Internal", "Attachable")
    } == {
        "Name": "full",
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": True,
        "EnableIPv6": True,
        "Internal": True,
        "Attachable": True,
    }
    assert (found["Ingress"], found["ConfigOnly"], found["Containers"]) == (False, False, {})
    ipam = found["IPAM"]
    assert isinstance(ipam, dict)
    assert (ipam["Driver"], ipam["Options"]) == ("default", {"a": "b"})
    assert ipam["Config"] == [
        {
            "Subnet": "10.182.0.0/16",
            "IPRange": "10.182.5.0/24",
            "Gateway": "10.182.0.9",
            "AuxiliaryAddresses": {"router": "10.182.5.0"},
        },
        {"Subnet": "fd82::/64", "Gateway": "fd82::1"},
    ]
    assert found["Labels"] == {"tier": "back", "empty": ""}
    assert found["Options"] == {
        f"{PREFIX}.driver.mtu": "1400",
        f"{PREFIX}.bridge.name": "kt-full",
    }
    engine.docker("run", "-d", "--name", "one", "--network", "full", *SLEEP)
    assert "mtu 1400" in inside(engine, "one", "ip link show eth0")
    members = shown(engine, "network", "inspect", "full")["Containers"]
    assert isinstance(members, dict)
    (found_member,) = members.values()
    assert isinstance(found_member, dict)
    assert (found_member["Name"], found_member["IPv4Address"]) == ("one", "10.182.5.1/16")
    assert found_member["IPv6Address"] == "fd82::2/64"
    engine.docker("network", "create", "--ipv4=false", "--ipv6", "six")
    assert shown(engine, "network", "inspect", "six")["EnableIPv4"] is False


def test_lists_filter_and_format(engine: Engine) -> None:
    engine.docker("network", "create", "--label", "tier=back", "lists-a")
    engine.docker("network", "create", "--label", "tier=front", "--internal", "lists-b")
    engine.docker("run", "-d", "--network", "lists-b", *SLEEP)
    identity = str(shown(engine, "network", "inspect", "lists-a")["Id"])
    for filters, names in (
        (["type=builtin"], ["bridge", "host", "none"]),
        (["type=custom"], ["lists-a", "lists-b"]),
        (["driver=null"], ["none"]),
        (["driver=bridge", "type=custom"], ["lists-a", "lists-b"]),
        (["name=ists-a"], ["lists-a"]),
        ([f"id={identity[:7]}"], ["lists-a"]),
        (["label=tier"], ["lists-a", "lists-b"]),
        (["label=tier=front"], ["lists-b"]),
        (["dangling=true"], ["lists-a"]),
        (["dangling=false", "type=custom"], ["lists-b"]),
        (["scope=local", "label=tier"], ["lists-a", "lists-b"]),
        (["scope=swarm"], []),
    ):
        words = [word for text in filters for word in ("--filter", text)]
        listed = engine.docker("network", "ls", *words, "--format", "{{.Name}}").stdout.split()
        assert listed == names, filters
    assert refusal(engine, "network", "ls", "--filter", "odd=1") == "invalid filter 'odd'"
    assert "invalid filter 'dangling=" in refusal(
        engine, "network", "ls", "--filter", "dangling=maybe"
    )
    line = '{{.ID}} {{.Driver}} {{.Scope}} {{.IPv6}} {{.Internal}} {{.Labels}} {{.Label "tier"}}'
    found = engine.docker("network", "ls", "--filter", "name=lists-b", "--format", line).stdout
    assert found.split()[1:] == ["bridge", "local", "false", "true", "tier=front", "front"]
    full = engine.docker("network", "ls", "-q", "--no-trunc", "--filter", "name=lists-a").stdout
    assert full.strip() == identity


_NO_NETWORKS: Final = (
    (("taken",), "network with name taken already exists"),
    (("host",), "operation is not permitted on predefined host network"),
    (("--driver", "nosuch", "x"), 'plugin "nosuch" not found'),
    (("--driver", "host", "x"), 'only one instance of "host" network is allowed'),
    (("--ipam-driver", "nosuch", "x"), "could not find IPAM driver nosuch"),
    (("--subnet", "10.66.0.0/25", "x"), "Pool overlaps with other one on this address space"),
    (("--subnet", "127.5.0.0/16", "x"), "127.5.0.0/16: it is not one of addresses for links"),
    (("--subnet", "10.1.0.0/24", "--subnet", "10.2.0.0/24", "x"), "multiple subnets"),
    (
        ("--subnet", "10.78.0.1/24", "x"),
        "invalid subnet 10.78.0.1/24: it should be 10.78.0.0/24",
    ),
    (("--subnet", "10.90.0.0/31", "x"), "no address left for a container"),
    (("--ipv4=false", "x"), "IPv4 or IPv6 must be enabled"),
    (("-o", "nosuch=1", "x"), "invalid option nosuch for a bridge network"),
    (("-o", f"{PREFIX}.bridge.enable_icc=maybe", "x"), "value: 'maybe'"),
    (("-o", f"{PREFIX}.bridge.name=kt-taken", "x"), "networks have same bridge name kt-taken"),
    (("-o", f"{PREFIX}.driver.mtu=-1", "x"), f"{PREFIX}.driver.mtu"),
    (("--driver", "macvlan", "-o", "parent=nosuch", "x"), "invalid parent nosuch"),
    (("--driver", "macvlan", "-o", "parent=lo", "x"), "loopback interface is not a valid"),
    (("--scope", "swarm", "x"), "needs a swarm"),
    (("bad name",), "invalid network name: 'bad name'"),
)


def test_networks_that_cannot_be(engine: Engine) -> None:
    engine.docker(
        *("network", "create", "--subnet", "10.66.0.0/24"),
        *("-o", f"{PREFIX}.bridge.name=kt-taken", "taken"),
    )
    for words, said in _NO_NETWORKS:
        assert said in refusal(engine, "network", "create", *words), words
    assert engine.docker("network", "ls", "-q", "--filter", "type=custom").stdout.count("\n") == 1


def test_every_field_of_the_network_flag(engine: Engine) -> None:
    engine.docker(
        "network", "create", "--subnet", "10.79.0.0/24", "--ipv6", "--subnet", "fd79::/64", "n1"
    )
    engine.docker("network", "create", "n2")
    engine.docker(
        *("run", "-d", "--name", "web", "--network"),
        "name=n1,ip=10.79.0.9,ip6=fd79::9,alias=w1,alias=w2,mac-address=02:11:22:33:44:55,"
        "link-local-ip=169.254.7.7,gw-priority=-1,"
        f"driver-opt={PREFIX}.endpoint.ifname=lan0,"
        f"driver-opt={PREFIX}.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
        *("--network", "n2", *SLEEP),
    )
    found = member(engine, "web", "n1")
    assert (found["IPAddress"], found["GlobalIPv6Address"]) == ("10.79.0.9", "fd79::9")
    assert (found["MacAddress"], found["GwPriority"]) == ("02:11:22:33:44:55", -1)
    assert (found["Aliases"], found["Gateway"]) == (["w1", "w2"], "10.79.0.1")
    names = found["DNSNames"]
    assert isinstance(names, list)
    assert names[:3] == ["web", "w1", "w2"]
    addresses = inside(engine, "web", "ip -o addr show lan0; ip -o link show lan0")
    for text in ("10.79.0.9/24", "fd79::9/64", "169.254.7.7/", "02:11:22:33:44:55"):
        assert text in addresses
    assert inside(engine, "web", "cat /proc/sys/net/ipv4/conf/lan0/log_martians") == "1\n"
    gateway = member(engine, "web", "n2")["Gateway"]
    assert f"default via {gateway} dev eth0" in inside(engine, "web", "ip route")
    shown_networks = engine.docker("ps", "--format", "{{.Networks}}").stdout.strip()
    assert sorted(shown_networks.split(",")) == ["n1", "n2"]
    # The older flags, which mean the first network.
    output = engine.docker(
        *("run", "--rm", "--network", "n1", "--ip", "10.79.0.77", "--ip6", "fd79::77"),
        *("--mac-address", "02:00:00:00:00:77", "--network-alias", "old", "--link-local-ip"),
        *("169.254.8.8", "busybox", "sh", "-c", "ip -o addr; ip -o link; nslookup old"),
    ).stdout
    for text in (
        "10.79.0.77/24",
        "fd79::77/64",
        "02:00:00:00:00:77",
        "169.254.8.8",
        "Address: 10.79.0.77",
    ):
        assert text in output


def test_connect_and_disconnect_with_all_their_flags(engine: Engine) -> None:
    engine.docker(
        "network", "create", "--subnet", "10.180.0.0/24", "--ipv6", "--subnet", "fd80::/64", "n1"
    )
    engine.docker("run", "-d", "--name", "web", "--network", "n1", *SLEEP)
    engine.docker("run", "-d", "--name", "two", *SLEEP)
    engine.docker(
        *("network", "connect", "--ip", "10.180.0.20", "--ip6", "fd80::20", "--alias", "al"),
        *("--link", "web:w", "--link-local-ip", "169.254.7.7", "--gw-priority", "9"),
        *("--driver-opt", f"{PREFIX}.endpoint.ifname=lan0", "n1", "two"),
    )
    found = member(engine, "two", "n1")
    assert (found["IPAddress"], found["Links"], found["Aliases"]) == (
        *("10.180.0.20", ["web:w"], ["al"]),
    )
    assert "default via 10.180.0.1 dev lan0" in inside(engine, "two", "ip route")
    assert "10.180.0.2" in inside(engine, "two", "nslookup w")
    assert "10.180.0.20" in inside(engine, "web", "nslookup al")
    for words, said in (
        (("connect", "n1", "two"), "endpoint with name two already exists in network n1"),
        (("connect", "nosuch", "two"), "network nosuch not found"),
        (("connect", "n1", "nosuch"), "No such container: nosuch"),
        (("connect", "host", "two"), "connected to host network"),
        (("connect", "none", "two"), "in private (none) mode"),
        (("disconnect", "host", "two"), "is not connected to network host"),
        (("disconnect", "n1", "nosuch"), "No such container: nosuch"),
        (("rm", "n1"), 'network n1 has active endpoints (name:"web"'),
        (("rm", "host"), "host is a pre-defined network and cannot be removed"),
        (("rm", "nosuch"), "network nosuch not found"),
        (("prune", "-f", "--filter", "dangling=true"), "invalid filter 'dangling'"),
    ):
        assert said in refusal(engine, "network", *words), words
    engine.docker("network", "disconnect", "n1", "two")
    assert "lan0" not in inside(engine, "two", "ip link")
    assert "default via" in inside(engine, "two", "ip route")
    said = refusal(engine, "network", "disconnect", "n1", "two")
    assert said.endswith("is not connected to network n1")
    # By force it does not matter whether there is anything to take out.
    engine.docker("network", "disconnect", "-f", "n1", "nosuch")
    engine.docker("network", "disconnect", "-f", "n1", "web")
    assert inside(engine, "web", "ip -o link | wc -l") == "1\n"
    engine.docker("network", "rm", "-f", "nosuch")
    assert engine.docker("network", "rm", "n1").stdout == "n1\n"


def test_prune_takes_what_nobody_is_in(engine: Engine) -> None:
    engine.docker("network", "create", "--label", "keep", "p1")
    engine.docker("network", "create", "p2")
    engine.docker("network", "create", "p3")
    engine.docker("run", "-d", "--network", "p3", *SLEEP)
    for words, gone in (
        (("--filter", "until=24h"), []),
        (("--filter", "label=nosuch"), []),
        (("--filter", "label!=keep"), ["p2"]),
        ((), ["p1"]),
    ):
        output = engine.docker("network", "prune", "-f", *words).stdout
        assert output.split("\n")[1:-2] == gone, words
    assert engine.docker("network", "ls", "-q", "--filter", "name=p3").stdout


def test_ports_in_all_their_forms(engine: Engine) -> None:
    first = 21800
    engine.docker(
        *("run", "-d", "--name", "web", "-p", f"{first}:80", "-p", f"127.0.0.1:{first + 1}:81/udp"),
        *("-p", f"{first}-{first + 4}:82", "-p", f"[::1]:{first + 5}:83", "-p", "84"),
        *("-p", f"0.0.0.0:{first + 6}:85", "-p", f"{first + 7}-{first + 8}:86-87"),
        *("-p", "127.0.0.1::88", "--publish", f"mode=host,target=89,published={first + 9}"),
        *("--expose", "90", "-P", *SLEEP),
    )
    lines = engine.docker("port", "web").stdout.splitlines()
    for line in (
        f"80/tcp -> 0.0.0.0:{first}",
        f"80/tcp -> [::]:{first}",
        f"81/udp -> 127.0.0.1:{first + 1}",
        f"83/tcp -> [::1]:{first + 5}",
        f"85/tcp -> 0.0.0.0:{first + 6}",
        f"86/tcp -> 0.0.0.0:{first + 7}",
        f"87/tcp -> 0.0.0.0:{first + 8}",
        f"89/tcp -> 0.0.0.0:{first + 9}",
    ):
        assert line in lines
    (ranged,) = (line for line in lines if line.startswith("82/tcp -> 0.0.0.0"))
    assert int(ranged.rpartition(":")[2]) in range(first + 1, first + 5)
    assert len([line for line in lines if line.startswith(("84/", "88/", "90/"))]) == 5
    assert engine.docker("port", "web", "81/udp").stdout == f"127.0.0.1:{first + 1}\n"
    assert "No public port '79' published for web" in refusal(engine, "port", "web", "79")
    clash = refusal(engine, "run", "--rm", "-p", f"{first}:80", "busybox", "true")
    assert f"Bind for 0.0.0.0:{first} failed: port is already allocated" in clash
    assert 'is held by container "web"' in clash
    assert "cannot assign requested address" in refusal(
        engine, "run", "--rm", "-p", f"203.0.113.1:{first + 20}:80", "busybox", "true"
    )
    # A restart keeps what was asked for.
    engine.docker("restart", "-t", "0", "web")
    assert engine.docker("port", "web", "80").stdout.splitlines()[0] == f"0.0.0.0:{first}"


def test_names_given_by_flags(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "db", *SLEEP)
    output = engine.docker(
        *("run", "--rm", "--link", "db:store", "--add-host", "gate:host-gateway"),
        *("--add-host", "one=192.0.2.1", "--add-host", "six:[2001:db8::6]", "--dns", "192.0.2.53"),
        *("--dns-search", "a.example", "--dns-search", "b.example", "--dns-opt", "ndots:3"),
        *("busybox", "sh", "-c", "cat /etc/hosts /etc/resolv.conf; env; ip route"),
    ).stdout
    lines = output.split("\n")
    gateway = next(line.split()[2] for line in lines if line.startswith("default via"))
    for line in (
        f"{gateway}\tgate",
        "192.0.2.1\tone",
        "2001:db8::6\tsix",
        "search a.example b.example",
        "options ndots:3",
    ):
        assert line in lines
    assert any(line.endswith("/store") and line.startswith("STORE_NAME=") for line in lines)
    assert any("\tstore " in line for line in lines)
    # The host's address on the network's own bridge, also where there is no way out.
    engine.docker(
        *("network", "create", "--internal", "--ipv6", "--subnet", "10.181.0.0/24"),
        *("--subnet", "fd81::/64", "shut"),
    )
    words = ("run", "--rm", "--add-host", "gate:host-gateway", "--network")
    hosts = engine.docker(*words, "shut", "busybox", "cat", "/etc/hosts").stdout
    assert "10.181.0.1\tgate\nfd81::1\tgate\n" in hosts
    hosts = engine.docker(*words, "host", "busybox", "cat", "/etc/hosts").stdout
    assert "127.0.0.1\tgate\n" in hosts
    assert "could not get container for nosuch" in refusal(
        engine, "run", "--rm", "--link", "nosuch:x", "busybox", "true"
    )


_NO_CONTAINERS: Final = (
    (("--ip", "10.1.2.3"), "supported on user defined networks only"),
    (("--network-alias", "a"), "only supported for user-defined networks"),
    (("--network", "auto", "--ip", "10.1.2.3"), "networks with user configured subnets"),
    (
        ("--network", "n1", "--ip", "10.1.2.3"),
        "no configured subnet contains IP address 10.1.2.3",
    ),
    (("--network", "n1", "--ip", "10.66.0.1"), "address already in use"),
    (("--network", "n1", "--mac-address", "zz"), "zz is not a valid mac address"),
    (("--network", "nosuch"), "network nosuch not found"),
    (("--network", "n1", "--network", "host"), "conflicting options: cannot attach both"),
    (("--network", "n1", "--network", "n1"), 'network "n1" is specified multiple times'),
    (("--network", "container:web", "-p", "80:80"), "port publishing and the container type"),
    (("--network", "container:web", "--expose", "80"), "port exposing and the container type"),
    (("--network", "container:web", "-h", "x"), "hostname and the network mode"),
    (("--network", "container:web", "--dns", "192.0.2.1"), "dns and the network mode"),
    (("--network", "container:web", "--add-host", "a:192.0.2.1"), "custom host-to-IP mapping"),
    (("--network", "container:web", "--link", "web"), "can't be used with links"),
    (("--network", "host", "--link", "web"), "can't be used with links"),
    (("--network", "container:nosuch"), "No such container: nosuch"),
    (("--network", f"name=n1,driver-opt={PREFIX}.endpoint.ifname=lo"), "the loopback's name"),
    (("--network", "name=n1,driver-opt=nosuch=1"), "invalid driver option nosuch"),
)


def test_containers_that_cannot_be(engine: Engine) -> None:
    engine.docker("network", "create", "--subnet", "10.66.0.0/24", "n1")
    engine.docker("network", "create", "auto")
    engine.docker("run", "-d", "--name", "web", "--network", "n1", *SLEEP)
    for words, said in _NO_CONTAINERS:
        assert said in refusal(engine, "run", "--rm", *words, "busybox", "true"), words
    assert engine.docker("ps", "-aq").stdout.count("\n") == 1
