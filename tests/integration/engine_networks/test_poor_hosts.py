"""Hosts that lack what networks are made with: the engine says so once, and does what it can."""

import contextlib
import socket
from functools import partial

import pytest

from tests.engine import DOCKER
from tests.integration.engine_networks.machines import Machine, engine_on, serving, wired
from tests.integration.engine_networks.netstate import resolve
from tests.integration.network_live.lab import ask
from tests.integration.network_live.norules import (
    NO_KERNEL_PART,
    NO_RIGHT,
    refuse_packet_filter,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(DOCKER is None, reason="the docker CLI is not installed"),
]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (NO_KERNEL_PART, "this kernel has no nf_tables: "),
        (NO_RIGHT, "the engine may not load packet filter rules (it needs CAP_NET_ADMIN): "),
    ],
)
def test_without_rules_the_proxy_carries_what_is_published(number: int, said: str) -> None:
    with (
        engine_on(1, prepare=partial(refuse_packet_filter, number)) as host,
        contextlib.closing(Machine(2)) as client,
        wired(host, client),
    ):
        engine = host.engine
        with serving(
            host.run("web", "-p", "8080:80", "-p", "5300:5353/udp"), 80, udp=[5353]
        ) as web:
            for address in (host.ipv4, host.ipv6):
                assert client.space.run(partial(ask, address, 8080))
            assert client.space.run(partial(ask, host.ipv4, 5300, socket.SOCK_DGRAM))
            # Names need no rules either.
            host.run("db").close()
            assert len(web.run(partial(resolve, "db"))) == 1
            warnings = engine.docker("info", "-f", "{{json .Warnings}}").stdout
            assert warnings.count(said) == 1
            engine.kill()
            host.start()
            assert client.space.run(partial(ask, host.ipv4, 8080))
            assert len(web.run(partial(resolve, "db"))) == 1
        assert engine.log.read_text().count(said) == 2
