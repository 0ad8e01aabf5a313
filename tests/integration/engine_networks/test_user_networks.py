"""User-defined networks through the docker CLI: made, joined, left, removed, seen from inside."""

from collections.abc import Iterator

import pytest

from tests.engine import DOCKER, Engine, page
from tests.integration.engine_networks.subnets import NET, NET16, SHOP

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(DOCKER is None, reason="the docker CLI is not installed"),
]
_SUBNET = ("--subnet", f"{SHOP}.0/24", "--gateway", f"{SHOP}.254")
_HTTPD = "mkdir /w && echo page > /w/index.html && exec httpd -f -h /w -p 80"


@pytest.fixture
def host(shared_engine: Engine) -> Iterator[Engine]:
    """The engine, without containers and user-defined networks afterwards."""
    yield shared_engine
    names = shared_engine.docker("ps", "-aq").stdout.split()
    if names:
        shared_engine.docker("rm", "-f", *names)
    shared_engine.docker("network", "prune", "-f")


def run(engine: Engine, name: str, *flags: str, command: str = "exec sleep 1000") -> None:
    engine.docker("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", command)


def inside(engine: Engine, name: str, *command: str) -> str:
    return engine.docker("exec", name, *command).stdout


def gateway_of(engine: Engine, name: str) -> str:
    routes = inside(engine, name, "ip", "route").splitlines()
    defaults = [line.split() for line in routes if line.startswith("default")]
    assert len(defaults) == 1
    return defaults[0][2]


def refused(engine: Engine, *words: str) -> str:
    done = engine.docker(*words, check=False)
    assert done.returncode != 0
    return done.stderr.splitlines()[0].removeprefix("docker: ")


def test_a_container_has_the_address_it_asks_for(host: Engine) -> None:
    host.docker("network", "create", *_SUBNET, "--aux-address", f"printer={SHOP}.1", "shop")
    run(host, "db", "--network", "shop", "--ip", f"{SHOP}.9")
    run(host, "web", "--network", "shop")
    assert f"inet {SHOP}.9/24" in inside(host, "db", "ip", "addr")
    # The first address is kept free for the printer.
    assert f"inet {SHOP}.2/24" in inside(host, "web", "ip", "addr")
    assert gateway_of(host, "web") == f"{SHOP}.254"
    assert "1 packets received" in inside(host, "web", "ping", "-c1", "-W5", f"{SHOP}.9")


def test_networks_do_not_reach_each_other_until_they_are_connected(host: Engine) -> None:
    host.docker("network", "create", *_SUBNET, "shop")
    host.docker("network", "create", "lab")
    run(host, "db", "--network", "shop", "--ip", f"{SHOP}.9")
    run(host, "web", "--network", "lab")
    ping = ("exec", "web", "ping", "-c1", "-W1", f"{SHOP}.9")
    assert host.docker(*ping, check=False).returncode == 1
    host.docker("network", "connect", "shop", "web")
    assert host.docker(*ping).returncode == 0
    assert len(inside(host, "web", "hostname", "-i").split()) >= 1
    host.docker("network", "disconnect", "shop", "web")
    assert host.docker(*ping, check=False).returncode == 1


def test_the_default_route_follows_name_and_priority(host: Engine) -> None:
    host.docker("network", "create", "--subnet", f"{NET}.0.0/24", "alpha")
    host.docker("network", "create", "--subnet", f"{NET}.1.0/24", "beta")
    host.docker("network", "create", "--subnet", f"{NET}.2.0/24", "gamma")
    host.docker("network", "create", "--internal", "--subnet", f"{NET}.3.0/24", "aaa")
    run(host, "web", "--network", "beta")
    assert gateway_of(host, "web") == f"{NET}.1.1"
    host.docker("network", "connect", "aaa", "web")
    assert gateway_of(host, "web") == f"{NET}.1.1"
    host.docker("network", "connect", "alpha", "web")
    assert gateway_of(host, "web") == f"{NET}.0.1"
    host.docker("network", "connect", "--gw-priority", "7", "gamma", "web")
    assert gateway_of(host, "web") == f"{NET}.2.1"
    host.docker("network", "disconnect", "gamma", "web")
    assert gateway_of(host, "web") == f"{NET}.0.1"
    host.docker("restart", "-t", "0", "web")
    assert gateway_of(host, "web") == f"{NET}.0.1"
    names = [line.split(":")[1].split("@")[0].strip()
             for line in inside(host, "web", "ip", "-o", "link").splitlines()]  # fmt: skip
    assert names == ["lo", "eth0", "eth1", "eth2"]


def test_a_stopped_container_joins_with_its_next_start(host: Engine) -> None:
    host.docker("network", "create", *_SUBNET, "shop")
    host.docker("create", "--name", "web", "busybox", "sleep", "1000")
    host.docker("network", "connect", "--ip", f"{SHOP}.33", "shop", "web")
    host.docker("start", "web")
    assert f"{SHOP}.33/24" in inside(host, "web", "ip", "addr")
    host.docker("restart", "-t", "0", "web")
    assert f"{SHOP}.33/24" in inside(host, "web", "ip", "addr")
    host.docker("stop", "-t", "0", "web")
    host.docker("network", "disconnect", "shop", "web")
    host.docker("start", "web")
    assert f"{SHOP}.33/24" not in inside(host, "web", "ip", "addr")


def test_ports_move_when_their_network_is_left(host: Engine) -> None:
    host.docker("network", "create", "shop")
    host.docker("network", "create", "lab")
    run(host, "web", "--network", "shop", "-p", "127.0.0.1:18077:80", command=_HTTPD)
    assert page(18077) == "page\n"
    host.docker("network", "connect", "lab", "web")
    host.docker("network", "disconnect", "shop", "web")
    assert page(18077) == "page\n"
    assert host.docker("port", "web").stdout == "80/tcp -> 127.0.0.1:18077\n"


def test_a_chosen_mac_address_stays(host: Engine) -> None:
    host.docker("network", "create", "shop")
    run(host, "web", "--network", "name=shop,mac-address=02:42:00:00:00:07")
    host.docker("restart", "-t", "0", "web")
    assert "02:42:00:00:00:07" in inside(host, "web", "ip", "link")


def test_events_tell_who_came_and_went(host: Engine) -> None:
    since = host.docker("info", "-f", "{{.SystemTime}}").stdout.strip()
    host.docker("network", "create", "shop")
    run(host, "web", "--network", "shop")
    host.docker("rm", "-f", "web")
    host.docker("network", "rm", "shop")
    until = host.docker("info", "-f", "{{.SystemTime}}").stdout.strip()
    shown = host.docker(
        "events", "--since", since, "--until", until, "--filter", "type=network",
        "--format", "{{.Action}} {{.Actor.Attributes.name}}",
    ).stdout  # fmt: skip
    assert shown.splitlines() == [
        "create shop", "connect shop", "disconnect shop", "destroy shop",
    ]  # fmt: skip


def test_a_network_survives_the_engine_and_its_containers_stay_in_it(engine: Engine) -> None:
    engine.docker("network", "create", *_SUBNET, "--label", "a=b", "shop")
    run(engine, "web", "--network", "shop", "--ip", f"{SHOP}.9")
    before = engine.docker("network", "inspect", "shop").stdout
    engine.kill()
    engine.start()
    assert engine.docker("network", "inspect", "shop").stdout == before
    run(engine, "db", "--network", "shop")
    assert "1 packets received" in inside(engine, "db", "ping", "-c1", "-W5", f"{SHOP}.9")
    engine.docker("network", "disconnect", "shop", "web")
    assert engine.docker("exec", "web", "ip", "route").stdout == ""


def _id_of(value: list[str] | str) -> str:
    """Name a case without its addresses, which are of this process alone."""
    return "-".join(value[:2]) if isinstance(value, list) else "said"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["network", "create", "shop"], "network with name shop already exists"),
        (
            ["network", "create", "bridge"],
            "operation is not permitted on predefined bridge network",
        ),
        (["network", "create", "a b"], "invalid network name: 'a b': want letters, digits"),
        (
            ["network", "create", "-d", "host", "mine"],
            'only one instance of "host" network is allowed: use host',
        ),
        (
            ["network", "create", "-d", "weave", "mine"],
            'could not find plugin weave in v1 plugin registry: plugin "weave" not found',
        ),
        (
            ["network", "create", "--subnet", f"{NET16}", "mine"],
            f"on this address space: {NET16} overlaps network shop",
        ),
        (
            ["network", "create", "--subnet", f"{NET}.9.0/24", "--gateway", "10.1.0.1", "mine"],
            "no matching subnet for gateway 10.1.0.1",
        ),
        (["network", "rm", "bridge"], "bridge is a pre-defined network and cannot be removed"),
        (["network", "rm", "nope"], "network nope not found"),
        (
            ["network", "rm", "shop"],
            'error while removing network: network shop has active endpoints (name:"web" id:"',
        ),
        (["network", "connect", "nope", "web"], "network nope not found"),
        (["network", "connect", "lab", "nope"], "No such container: nope"),
        (
            ["network", "connect", "shop", "web"],
            "endpoint with name web already exists in network shop",
        ),
        (["network", "disconnect", "lab", "web"], "is not connected to network lab"),
        (
            ["network", "connect", "host", "web"],
            "container cannot be disconnected from host network or connected to host network",
        ),
        (
            ["network", "connect", "--ip", "10.1.1.1", "lab", "web"],
            "networks with user configured subnets: make network lab with --subnet",
        ),
        (["run", "--network", "nope", "busybox", "true"], "network nope not found"),
        (
            ["run", "--ip", "10.1.1.1", "busybox", "true"],
            "user specified IP address is supported on user defined networks only",
        ),
        (
            ["run", "--network", "shop", "--ip", f"{SHOP}.9", "busybox", "true"],
            f"address already in use: {SHOP}.9 on network shop",
        ),
        (
            ["run", "--network", "shop", "--ip", "10.70.0.9", "busybox", "true"],
            "no configured subnet contains IP address 10.70.0.9",
        ),
    ],
    ids=_id_of,
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(
    crowded: Engine, words: list[str], message: str
) -> None:
    assert message in refused(crowded, *words)


@pytest.fixture(scope="module")
def crowded(shared_engine: Engine) -> Iterator[Engine]:
    """A network with a container, and one without."""
    shared_engine.docker("network", "create", *_SUBNET, "shop")
    shared_engine.docker("network", "create", "lab")
    run(shared_engine, "web", "--network", "shop", "--ip", f"{SHOP}.9")
    yield shared_engine
    shared_engine.docker("rm", "-f", *shared_engine.docker("ps", "-aq").stdout.split())
    shared_engine.docker("network", "rm", "shop", "lab")
