"""What containers ask about the rest of the world: the host's resolvers answer, as they are now."""

import contextlib
from collections.abc import Generator
from functools import partial
from pathlib import Path

import dns.message
import pytest

from kedge.linux.mount import MS_BIND, MS_PRIVATE, MS_REC, mount
from kedge.linux.namespaces import CLONE_NEWNS, unshare
from tests.engine import DOCKER
from tests.integration.engine_networks.machines import Machine, engine_on, wired
from tests.integration.engine_networks.netstate import resolve
from tests.integration.network_dns.resolvers import FakeResolver, addresses
from tests.integration.network_live.lab import Space

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(DOCKER is None, reason="the docker CLI is not installed"),
]
_RESOLV_CONF = "/etc/resolv.conf"


def see_as_resolv_conf(file: Path) -> None:
    """Show ``file`` as /etc/resolv.conf to this thread and what it starts, in its own mounts."""
    unshare(CLONE_NEWNS)
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount(str(file), _RESOLV_CONF, "", MS_BIND)


@contextlib.contextmanager
def resolver(space: Space, address: str, answer: str) -> Generator[FakeResolver]:
    """A resolver on port 53 of an address that has one answer for everything."""

    def say(message: dns.message.Message) -> list[bytes]:
        is_ipv4 = message.question[0].rdtype == 1
        return [addresses(message, answer) if is_ipv4 else addresses(message)]

    found = space.run(partial(FakeResolver, say, 53, address))
    try:
        yield found
    finally:
        found.close()


def test_the_hosts_resolvers_are_asked_also_those_of_its_loopback(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\nsearch corp.example\n")
    with (
        engine_on(1, prepare=partial(see_as_resolv_conf, file)) as host,
        contextlib.closing(Machine(2)) as neighbour,
        wired(host, neighbour),
        resolver(host.space, "127.0.0.1", "203.0.113.1") as local,
        resolver(neighbour.space, neighbour.ipv4, "203.0.113.2") as other,
    ):
        with contextlib.closing(host.run("web")) as web:
            text = host.engine.docker("exec", "web", "cat", _RESOLV_CONF).stdout
            assert text.splitlines()[:2] == ["nameserver 127.0.0.11", "search corp.example"]
            assert web.run(partial(resolve, "example.org")) == {"203.0.113.1"}
            assert set(local.questions) == {"example.org."}
            # A VPN comes up: whoever runs already asks the new one with its next question.
            file.write_text(f"nameserver {neighbour.ipv4}\n")
            assert web.run(partial(resolve, "example.net")) == {"203.0.113.2"}
            assert set(other.questions) == {"example.net."}
            # One of its own is asked from the host, too.
        flags = ("--dns", "127.0.0.1", "--network", "own")
        host.engine.docker("network", "create", "own")
        with contextlib.closing(host.run("picky", *flags)) as picky:
            assert picky.run(partial(resolve, "example.com")) == {"203.0.113.1"}
        # Names of containers are nobody else's business.
        assert set(local.questions) | set(other.questions) == {
            "example.org.", "example.net.", "example.com.",
        }  # fmt: skip
