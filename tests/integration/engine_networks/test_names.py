"""Containers find each other by name: asked from inside, with musl-like and glibc resolvers."""

import ipaddress
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.engine import DOCKER, Engine
from tests.integration.engine_networks.subnets import NET, SHOP

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(DOCKER is None, reason="the docker CLI is not installed"),
]


_GETADDRINFO = (
    "import socket, sys; "
    "print(*sorted({found[4][0] for found in socket.getaddrinfo(sys.argv[1], 80)}))"
)


@pytest.fixture
def host(shared_engine: Engine) -> Iterator[Engine]:
    """The engine, without containers and user-defined networks afterwards."""
    shared_engine.docker("network", "create", "--subnet", f"{SHOP}.0/24", "shop")
    yield shared_engine
    names = shared_engine.docker("ps", "-aq").stdout.split()
    if names:
        shared_engine.docker("rm", "-f", *names)
    shared_engine.docker("network", "prune", "-f")


def run(engine: Engine, name: str, *flags: str) -> None:
    engine.docker("run", "-d", "--name", name, *flags, "busybox", "sleep", "1000")


def resolve(engine: Engine, asker: str, name: str) -> list[str]:
    """Return what busybox's own resolver gives for a name, as addresses."""
    done = engine.docker("exec", asker, "nslookup", name, check=False)
    lines = done.stdout.partition("\n\n")[2].splitlines()
    return sorted({line.split()[1] for line in lines if line.startswith("Address")})


def resolve_as_glibc(engine: Engine, asker: str, name: str) -> list[str]:
    """Return what the host's libc finds in the container's network, with its resolv.conf."""
    state = "{{.State.Pid}} {{.ResolvConfPath}}"
    pid, path = engine.docker("inspect", "-f", state, asker).stdout.split()
    script = (
        f"mount --bind {path} /etc/resolv.conf; exec {sys.executable} -c '{_GETADDRINFO}' {name}"
    )
    done = subprocess.run(
        ["nsenter", "-t", pid, "-n", "unshare", "-m", "sh", "-c", script],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.split()


def test_glibc_finds_what_busybox_finds(host: Engine) -> None:
    for name in ("one", "two"):
        run(host, name, "--network", "shop", "--network-alias", "app")
    run(host, "web", "--network", "shop")
    assert resolve_as_glibc(host, "web", "one") == [f"{SHOP}.2"]
    assert resolve_as_glibc(host, "web", "app") == [f"{SHOP}.2", f"{SHOP}.3"]
    assert resolve_as_glibc(host, "web", "app.shop") == [f"{SHOP}.2", f"{SHOP}.3"]


def test_names_aliases_ids_and_networks(host: Engine) -> None:
    run(host, "web", "--network", "shop", "--network-alias", "www", "--hostname", "Front")
    run(host, "db", "--network", "shop")
    short = host.docker("ps", "-qf", "name=web").stdout.strip()
    for name in ("web", "WEB", "www", "front", short, "web.shop"):
        assert resolve(host, "db", name) == [f"{SHOP}.2"], name
    assert resolve(host, "db", "nosuch") == []


def test_an_alias_of_several_gives_them_all(host: Engine) -> None:
    for name in ("one", "two"):
        run(host, name, "--network", "shop", "--network-alias", "app")
    run(host, "web", "--network", "shop")
    assert resolve(host, "web", "app") == [f"{SHOP}.2", f"{SHOP}.3"]
    host.docker("rm", "-f", "one")
    assert resolve(host, "web", "app") == [f"{SHOP}.3"]


def test_reverse_and_services(host: Engine) -> None:
    run(host, "web", "--network", "shop", "--expose", "80")
    run(host, "db", "--network", "shop")
    out = host.docker("exec", "db", "nslookup", f"{SHOP}.2").stdout
    assert "name = web.shop" in out
    out = host.docker("exec", "db", "nslookup", "-type=srv", "_http._tcp.web").stdout
    assert "service = 0 1 80 web" in out


def test_the_default_bridge_has_names_too(host: Engine) -> None:
    run(host, "web")
    run(host, "db")
    address = host.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web").stdout.strip()
    assert resolve(host, "db", "web") == [address]


def test_names_of_other_networks_are_not_told(host: Engine) -> None:
    run(host, "web", "--network", "shop")
    run(host, "stranger")
    assert resolve(host, "stranger", "web") == []
    host.docker("network", "connect", "--alias", "guest", "shop", "stranger")
    assert resolve(host, "stranger", "web") == [f"{SHOP}.2"]
    assert resolve(host, "web", "guest") == [f"{SHOP}.3"]
    host.docker("network", "disconnect", "shop", "stranger")
    assert resolve(host, "stranger", "web") == []
    assert resolve(host, "web", "guest") == []


def test_a_new_name_is_known_and_the_old_one_forgotten(host: Engine) -> None:
    run(host, "web", "--network", "shop")
    run(host, "db", "--network", "shop")
    host.docker("rename", "web", "front")
    assert resolve(host, "db", "front") == [f"{SHOP}.2"]
    assert resolve(host, "db", "web") == []


def test_a_link_is_a_name_for_one(host: Engine) -> None:
    run(host, "db", "--network", "shop")
    run(host, "web", "--network", "shop", "--link", "db:store")
    run(host, "other", "--network", "shop")
    assert resolve(host, "web", "store") == [f"{SHOP}.2"]
    assert resolve(host, "other", "store") == []


def test_who_shares_a_network_shares_its_names(host: Engine) -> None:
    run(host, "web", "--network", "shop")
    run(host, "db", "--network", "shop")
    run(host, "side", "--network", "container:web")
    assert resolve(host, "side", "db") == [f"{SHOP}.3"]


def test_a_program_may_have_port_53_for_itself(host: Engine) -> None:
    run(host, "web", "--network", "shop")
    host.docker("exec", "web", "httpd", "-p", "0.0.0.0:53")
    assert "0.0.0.0:53" in host.docker("exec", "web", "netstat", "-lnt").stdout
    assert resolve(host, "web", "web") == [f"{SHOP}.2"]


def test_names_survive_the_engine(engine: Engine) -> None:
    engine.docker("network", "create", "--subnet", f"{SHOP}.0/24", "shop")
    run(engine, "web", "--network", "shop")
    run(engine, "db", "--network", "shop")
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", "db").stdout.strip()
    engine.kill()
    # The question waits in the socket until there is an engine again.
    question = (
        "import socket; from kedge.network.dns import wire\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.sendto(wire.make_question('web', 1, number=7), ('127.0.0.11', 53))\n"
        "print(s.recvfrom(512)[0][-4:].hex())"
    )
    asking = subprocess.Popen(
        [
            "nsenter", "-t", pid, "-n", sys.executable, "-c", question,
        ],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    engine.start()
    out, _ = asking.communicate(timeout=60)
    assert ipaddress.ip_address(bytes.fromhex(out.strip())) == ipaddress.ip_address(f"{SHOP}.2")
    assert resolve(engine, "db", "web") == [f"{SHOP}.2"]


def test_internal_networks_ask_nobody_outside(host: Engine) -> None:
    host.docker("network", "create", "--internal", "--subnet", f"{NET}.0.0/24", "safe")
    run(host, "web", "--network", "safe")
    out = host.docker("exec", "web", "nslookup", "example.com", check=False).stdout
    assert "NXDOMAIN" in out
    assert resolve(host, "web", "web") == [f"{NET}.0.2"]


def test_resolv_conf_keeps_what_the_user_asks_for(host: Engine) -> None:
    run(host, "web", "--dns-search", "corp.example", "--dns-opt", "timeout:1", "--dns", "127.0.0.9")
    text = host.docker("exec", "web", "cat", "/etc/resolv.conf").stdout
    assert text.splitlines() == [
        "nameserver 127.0.0.11", "search corp.example", "options timeout:1 ndots:0",
    ]  # fmt: skip


def test_the_hosts_file_is_kept_true(host: Engine) -> None:
    flags = ("--add-host", "up:host-gateway", "--add-host", "far:10.1.2.3", "--hostname", "front")
    run(host, "web", "--network", "shop", *flags)

    def lines() -> list[list[str]]:
        text = host.docker("exec", "web", "cat", "/etc/hosts").stdout
        return [line.split() for line in text.splitlines()][6:]

    own = [["10.1.2.3", "far"], [f"{SHOP}.2", "front"]]
    assert lines() == [[f"{SHOP}.1", "up"], *own]
    host.docker("network", "create", "--subnet", f"{NET}.9.0/24", "lab")
    host.docker("network", "connect", "lab", "web")
    assert lines()[-1] == [f"{NET}.9.2", "front"]
    # What the container has written itself stays.
    host.docker("exec", "web", "sh", "-c", "echo 10.1.2.4 mine >> /etc/hosts")
    host.docker("network", "disconnect", "lab", "web")
    assert lines() == [[f"{SHOP}.1", "up"], *own, ["10.1.2.4", "mine"]]
    assert host.docker("exec", "web", "ping", "-c1", "-W5", "up").returncode == 0


def test_a_published_port_is_a_service(host: Engine) -> None:
    run(host, "web", "--network", "shop", "-p", "127.0.0.1::8080", "--network-alias", "www")
    run(host, "db", "--network", "shop")
    for name in ("_8080._tcp.web", "_8080._tcp.www"):
        out = host.docker("exec", "db", "nslookup", "-type=srv", name).stdout
        assert "service = 0 1 8080 web" in out
