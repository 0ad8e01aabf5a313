import os
import socket
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from kedge.errdefs import ConflictError, ForbiddenError
from kedge.network.model import NetworkOptions, NetworkSpec, PortBinding
from tests.integration.network_live.lab import (
    WEB,
    Outside,
    Server,
    ask,
    host,
    is_reachable,
    own_network,
    reaches,
    shell,
)

pytestmark = pytest.mark.integration


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@own_network
def test_a_container_sees_its_interface_addresses_and_routes(tmp_path: Path) -> None:
    outside = Outside(mtu=1340)
    with host(tmp_path) as machine:
        machine.run("web")
        space = machine.spaces["web"]
        endpoint = machine.controller.endpoints(container_id=machine.id("web"))[0]
        links = space.run(lambda: output("ip", "-o", "link"))
        assert "lo: <LOOPBACK,UP" in links
        assert f"link/ether {endpoint.mac}" in links
        assert "eth0@" in links
        assert "mtu 1340" in links
        addresses = space.run(lambda: output("ip", "-o", "addr", "show", "dev", "eth0"))
        assert f"inet {endpoint.ipv4} " in addresses
        assert f"inet6 {endpoint.ipv6} scope global nodad" in addresses
        routes = space.run(lambda: output("ip", "route"))
        assert f"default via {endpoint.gateway4} dev eth0" in routes
        routes = space.run(lambda: output("ip", "-6", "route"))
        assert f"default via {endpoint.gateway6} dev eth0" in routes
        assert str(endpoint.ipv4) == "172.17.0.2/16"
        assert endpoint.mac == "02:42:ac:11:00:02"
    outside.close()


@own_network
def test_containers_reach_the_outside_by_the_hosts_address(tmp_path: Path) -> None:
    outside = Outside()
    server = Server(outside, 80, socket.SOCK_STREAM)
    with host(tmp_path) as machine:
        machine.run("client")
        space = machine.spaces["client"]
        assert space.run(lambda: ask(outside.ADDRESS4, 80)) == outside.HOST4
        assert space.run(lambda: ask(outside.ADDRESS6, 80)) == outside.HOST6
    server.close()
    outside.close()


@own_network
def test_networks_of_one_engine_do_not_reach_each_other(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.controller.create_network(NetworkSpec(name="other", enable_ipv6=True))
        machine.run("web")
        machine.run("friend")
        machine.run("stranger", network="other")
        machine.serve("web", 80)
        for version in (4, 6):
            address = machine.address("web", version)
            assert machine.spaces["friend"].run(partial(reaches, address, 80))
            assert not machine.spaces["stranger"].run(partial(is_reachable, address, 80))


@own_network
def test_engines_side_by_side_share_nothing(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with host(tmp_path / "one") as one:
        with host(tmp_path / "two") as two:
            one.run("a", WEB)
            two.run("b", PortBinding(protocol="tcp", container_port=80, host_port=8081))
            one.serve("a", 80)
            two.serve("b", 80)
            assert one.address("a").startswith("172.17.")
            assert two.address("b").startswith("172.18.")
            assert not two.spaces["b"].run(lambda: is_reachable(one.address("a"), 80))
            assert ask("127.0.0.1", 8081).startswith("172.18.")
        # The other engine has taken its things down.
        assert ask("127.0.0.1", 8080).startswith("172.17.")


@own_network
def test_an_internal_network_reaches_nothing_outside(tmp_path: Path) -> None:
    outside = Outside()
    server = Server(outside, 80, socket.SOCK_STREAM)
    with host(tmp_path) as machine:
        machine.controller.create_network(NetworkSpec(name="inner", is_internal=True))
        machine.run("a", network="inner")
        machine.run("b", network="inner")
        machine.serve("a", 80)
        assert machine.spaces["b"].run(lambda: reaches(machine.address("a"), 80))
        assert not machine.spaces["b"].run(lambda: is_reachable(outside.ADDRESS4, 80))
    server.close()
    outside.close()


@own_network
def test_containers_without_inter_container_communication(tmp_path: Path) -> None:
    with host(tmp_path, NetworkOptions(icc=False)) as machine:
        machine.run("a", WEB)
        machine.run("b")
        machine.serve("a", 80)
        assert not machine.spaces["b"].run(lambda: is_reachable(machine.address("a"), 80))
        assert ask("127.0.0.1", 8080)


@own_network
def test_a_container_cannot_use_the_hosts_loopback(tmp_path: Path) -> None:
    with host(tmp_path) as machine, socket.socket() as private:
        private.bind(("127.0.0.1", 7777))
        private.listen()
        machine.run("web")

        def attack() -> bool:
            Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
            gateway = machine.controller.get("bridge").subnets[0].gateway
            shell("ip route del local 127.0.0.0/8 dev lo table local; ip addr flush dev lo")
            shell(f"ip route add 127.0.0.1 via {gateway} dev eth0 src {address}")
            return is_reachable("127.0.0.1", 7777)

        address = machine.address("web")
        assert not machine.spaces["web"].run(attack)


@own_network
def test_two_networks_on_one_container(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.controller.create_network(NetworkSpec(name="back"))
        machine.run("db", network="back")
        machine.serve("db", 5432)
        container_id = machine.run("web")
        machine.controller.remove_endpoint(container_id)
        machine.controller.create_endpoint(container_id, "bridge")
        machine.controller.create_endpoint(container_id, "back")
        with pytest.raises(ConflictError, match="already exists in network back"):
            machine.controller.create_endpoint(container_id, "back")
        machine.spaces["web"].close()
        machine.spaces["web"] = type(machine.spaces["web"])()
        machine.connect("web")
        assert machine.spaces["web"].run(lambda: reaches(machine.address("db"), 5432))
        routes = machine.spaces["web"].run(lambda: output("ip", "route"))
        # The first by name has the default route.
        assert "default via 172.18.0.1 dev eth1" in routes
        assert "dev eth1" in routes


@own_network
def test_none_has_loopback_only_and_host_has_no_addresses(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("alone", network="none")
        links = machine.spaces["alone"].run(lambda: output("ip", "-o", "link"))
        assert "lo: <LOOPBACK,UP" in links
        assert "eth0" not in links
        endpoint = machine.controller.create_endpoint("c" * 64, "host")
        assert endpoint.ipv4 is None
        # Neither needs anything of the host.
        assert output("nft", "list", "tables") == ""
        assert "kedge" not in output("ip", "-o", "link")


@own_network
def test_nothing_is_left_behind(tmp_path: Path) -> None:
    links = output("ip", "-o", "link")
    with host(tmp_path) as machine:
        machine.controller.create_network(NetworkSpec(name="other", enable_ipv6=True))
        for number in range(3):
            machine.run(f"a{number}", PortBinding(protocol="tcp", container_port=80))
            machine.run(f"b{number}", network="other")
    assert output("ip", "-o", "link") == links
    assert output("nft", "list", "ruleset") == ""
    assert "127.0.0.0" not in output("ip", "route")


@own_network
def test_other_tables_are_never_touched(tmp_path: Path) -> None:
    foreign = "table inet theirs {\n\tchain c {\n\t\taccept\n\t}\n}\n"
    subprocess.run(["nft", "-f", "-"], input=foreign, text=True, check=True)
    with host(tmp_path) as machine:
        machine.run("web", WEB)
        assert output("nft", "list", "table", "inet", "theirs") == foreign
    assert output("nft", "list", "ruleset") == foreign


@own_network
def test_a_forward_policy_of_others_is_reported(tmp_path: Path) -> None:
    foreign = (
        "table ip filter {\n chain FORWARD {\n"
        " type filter hook forward priority 0; policy drop;\n }\n}\n"
    )
    subprocess.run(["nft", "-f", "-"], input=foreign, text=True, check=True)
    with host(tmp_path) as machine:
        machine.run("web")
        (problem,) = machine.controller.problems()
        assert problem.startswith("chain FORWARD of table filter drops forwarded packets")


@own_network
def test_a_restarted_engine_goes_on_where_it_was(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        alive = machine.run("alive", WEB)
        machine.serve("alive", 80)
        machine.run("dead", PortBinding(protocol="tcp", container_port=80, host_port=8081))
        dead_link = machine.controller.endpoints(container_id=machine.id("dead"))[0].link
        machine.crash()
        # While no engine runs, the rules go on working.
        assert ask("127.0.0.1", 8080)
        report = machine.controller.restore([alive])
        assert report.removed_endpoints == (machine.id("dead"),)
        assert report.problems == ()
        assert ask("127.0.0.1", 8080)
        assert ask("::1", 8080)
        assert not is_reachable("127.0.0.1", 8081)
        assert [p.host_port for p in machine.controller.ports(alive)] == [8080, 8080]
        machine.run("third", PortBinding(protocol="tcp", container_port=80, host_port=8081))
        assert machine.address("third") != machine.address("alive")
        machine.controller.close()
        assert dead_link not in output("ip", "-o", "link")
        machine.crash()
        machine.controller.restore([alive])
        assert ask("127.0.0.1", 8080)


@own_network
def test_links_and_rules_without_a_record_are_removed(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("web", WEB)
        bridge = machine.controller.get("bridge").bridge
        shell(f"ip link add stray0 type veth peer name stray1; ip link set stray0 master {bridge}")
        machine.database.execute("DELETE FROM network_endpoints")
        machine.crash()
        report = machine.controller.restore([])
        assert len(report.removed_links) == 2
        machine.controller.close()
        assert "stray0" not in output("ip", "-o", "link")
        assert "8080" not in output("nft", "list", "ruleset")
        machine.crash()


@own_network
def test_a_port_taken_while_no_engine_ran_is_reported(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        alive = machine.run("web", WEB)
        machine.serve("web", 80)
        machine.controller.close()
        with socket.socket() as thief:
            thief.bind(("0.0.0.0", 8080))
            thief.listen()
            machine.crash()
            report = machine.controller.restore([alive])
            (problem,) = report.problems
            assert problem.startswith("container web: ")
            assert f"pid {os.getpid()} " in problem
            assert ask("127.0.0.1", 8080)


@own_network
def test_a_bridge_removed_by_somebody_comes_back(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("first")
        bridge = machine.controller.get("bridge").bridge
        output("ip", "link", "delete", bridge)
        machine.run("second", WEB)
        machine.serve("second", 80)
        assert ask("127.0.0.1", 8080)


@own_network
def test_the_default_subnet_moves_out_of_the_way_of_a_new_route(tmp_path: Path) -> None:
    outside = Outside()
    with host(tmp_path) as machine:
        assert str(machine.controller.get("bridge").subnets[0].network) == "172.17.0.0/16"
        shell("ip route add 172.17.5.0/24 via 192.0.2.2; ip route add 172.19.0.0/16 dev eth0")
        machine.run("a")
        assert machine.address("a") == "172.18.0.2"
        machine.run("b")
        assert machine.address("b") == "172.18.0.3"
    outside.close()


@own_network
def test_an_address_is_free_again_when_the_link_is_gone(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        for number in range(3):
            machine.run(f"c{number}")
            assert machine.address(f"c{number}") == "172.17.0.2"
            machine.controller.remove_endpoint(machine.id(f"c{number}"))
            machine.controller.drain()


@own_network
def test_removing_networks(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        network = machine.controller.create_network(NetworkSpec(name="other"))
        container = machine.run("a", network="other")
        with pytest.raises(ForbiddenError, match="network other has active endpoints"):
            machine.controller.remove_network("other")
        machine.controller.remove_endpoint(container)
        machine.controller.remove_network("other")
        machine.controller.drain()
        assert network.bridge not in output("ip", "-o", "link")
        assert network.bridge not in output("nft", "list", "ruleset")


@own_network
def test_many_containers_come_and_go_at_once(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("first")
        seen: list[str] = []

        def live(number: int) -> None:
            for turn in range(3):
                name = f"c{number}-{turn}"
                port = PortBinding(protocol="tcp", container_port=80)
                container = machine.run(name, port)
                seen.append(machine.address(name))
                assert len(machine.controller.ports(container)) == 2
                machine.controller.remove_endpoint(container)

        threads = [threading.Thread(target=live, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        machine.controller.drain()
        assert len(seen) == 24
        assert len(machine.controller.endpoints()) == 1
        assert output("ip", "-o", "link").count("veth") == 1
        assert "dport" in output("nft", "list", "ruleset")
        assert "172.17.0.2 . 80" not in output("nft", "list", "ruleset")
