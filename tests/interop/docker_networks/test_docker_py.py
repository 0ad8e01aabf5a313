"""docker-py's network models, unmodified, against a real engine."""

# docker-py has no types of its own, and the stubs there are know one shape of each answer only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportIndexIssue=false, reportCallIssue=false

import contextlib
from collections.abc import Iterator

import docker  # type: ignore[import-untyped]
import pytest
from docker.errors import APIError, NotFound  # type: ignore[import-untyped]
from docker.models.networks import Network  # type: ignore[import-untyped]
from docker.types import IPAMConfig, IPAMPool  # type: ignore[import-untyped]

from tests.engine import Engine

pytestmark = pytest.mark.interop


@pytest.fixture
def client(shared_engine: Engine) -> Iterator[docker.DockerClient]:
    with contextlib.closing(docker.DockerClient(base_url=shared_engine.host)) as made:
        yield made
        for container in made.containers.list(all=True):
            container.remove(force=True)
        made.networks.prune()


def make(client: docker.DockerClient, name: str) -> Network:
    pool = IPAMPool(
        subnet="10.88.0.0/24",
        iprange="10.88.0.128/25",
        gateway="10.88.0.254",
        aux_addresses={"router": "10.88.0.128"},
    )
    return client.networks.create(
        name,
        driver="bridge",
        ipam=IPAMConfig(driver="default", pool_configs=[pool]),
        labels={"tier": "back"},
        options={"com.docker.network.driver.mtu": "1400"},
        attachable=True,
        check_duplicate=True,
    )


def test_networks_are_made_listed_and_removed(client: docker.DockerClient) -> None:
    network = make(client, "py-one")
    assert network.attrs["IPAM"]["Config"] == [
        {
            "Subnet": "10.88.0.0/24",
            "IPRange": "10.88.0.128/25",
            "Gateway": "10.88.0.254",
            "AuxiliaryAddresses": {"router": "10.88.0.128"},
        }
    ]
    assert (network.attrs["Labels"], network.attrs["Attachable"]) == ({"tier": "back"}, True)
    assert [each.id for each in client.networks.list(names=["py-one"])] == [network.id]
    assert [each.id for each in client.networks.list(ids=[network.id])] == [network.id]
    assert client.networks.list(filters={"label": "tier=front"}) == []
    assert client.networks.get(network.short_id).name == "py-one"
    with pytest.raises(APIError, match="network with name py-one already exists"):
        make(client, "py-one")
    network.remove()
    with pytest.raises(NotFound, match="network py-one not found"):
        client.networks.get("py-one")
    with pytest.raises(APIError, match="pre-defined network and cannot be removed"):
        client.networks.get("bridge").remove()


def test_containers_come_and_go(client: docker.DockerClient) -> None:
    network = make(client, "py-two")
    web = client.containers.run(
        "busybox",
        ["sleep", "3600"],
        detach=True,
        network="py-two",
        networking_config={
            "py-two": client.api.create_endpoint_config(
                aliases=["shop"],
                ipv4_address="10.88.0.9",
                mac_address="02:11:22:33:44:55",
                driver_opt={"com.docker.network.endpoint.ifname": "lan0"},
            )
        },
    )
    two = client.containers.run("busybox", ["sleep", "3600"], detach=True)
    network.connect(two, aliases=["second"], ipv4_address="10.88.0.10", links={web.name: "store"})
    network.reload()
    assert {each.id for each in network.containers} == {web.id, two.id}
    web.reload()
    found = web.attrs["NetworkSettings"]["Networks"]["py-two"]
    assert (found["IPAddress"], found["MacAddress"]) == ("10.88.0.9", "02:11:22:33:44:55")
    assert b"10.88.0.9" in two.exec_run(["nslookup", "store"]).output
    assert b"10.88.0.10" in web.exec_run(["nslookup", "second"]).output
    assert web.exec_run(["ip", "link", "show", "lan0"]).exit_code == 0
    with pytest.raises(APIError, match="has active endpoints"):
        network.remove()
    with pytest.raises(APIError, match="already exists in network py-two"):
        network.connect(two)
    network.disconnect(two)
    network.disconnect(web, force=True)
    network.reload()
    assert network.containers == []
    assert client.networks.prune(filters={"label": "tier=back"}) == {"NetworksDeleted": ["py-two"]}
