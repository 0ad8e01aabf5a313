"""What is said of a linked container, in Docker's forms."""

from kedge.engine.linkvariables import (
    LinkedContainer,
    host_names,
    hosts_without,
    link_variables,
    moved_hosts,
)
from kedge.engine.ports import parse_port

DB = LinkedContainer(
    alias="my-db",
    name="db",
    hostname="0123456789ab",
    address="172.17.0.2",
    ports=[parse_port(text) for text in ("6379", "53/udp", "53/tcp")],
    env=["PASSWORD=a=b", "HOME=/root", "PATH=/bin", "UNSET"],
)


def test_ports_name_and_environment() -> None:
    assert link_variables("web", DB) == [
        "MY_DB_PORT=tcp://172.17.0.2:53",
        "MY_DB_PORT_53_TCP=tcp://172.17.0.2:53",
        "MY_DB_PORT_53_TCP_ADDR=172.17.0.2",
        "MY_DB_PORT_53_TCP_PORT=53",
        "MY_DB_PORT_53_TCP_PROTO=tcp",
        "MY_DB_PORT_53_UDP=udp://172.17.0.2:53",
        "MY_DB_PORT_53_UDP_ADDR=172.17.0.2",
        "MY_DB_PORT_53_UDP_PORT=53",
        "MY_DB_PORT_53_UDP_PROTO=udp",
        "MY_DB_PORT_6379_TCP=tcp://172.17.0.2:6379",
        "MY_DB_PORT_6379_TCP_ADDR=172.17.0.2",
        "MY_DB_PORT_6379_TCP_PORT=6379",
        "MY_DB_PORT_6379_TCP_PROTO=tcp",
        "MY_DB_NAME=/web/my-db",
        "MY_DB_ENV_PASSWORD=a=b",
    ]


def test_runs_of_ports() -> None:
    ports = [parse_port(text) for text in ("80", "8002", "8001", "8000")]
    found = link_variables("web", DB._replace(ports=ports, env=[]))
    assert found[:6] == [
        "MY_DB_PORT_8000_TCP_START=tcp://172.17.0.2:8000",
        "MY_DB_PORT_8000_TCP_ADDR=172.17.0.2",
        "MY_DB_PORT_8000_TCP_PROTO=tcp",
        "MY_DB_PORT_8000_TCP_PORT_START=8000",
        "MY_DB_PORT_8000_TCP_END=tcp://172.17.0.2:8002",
        "MY_DB_PORT_8000_TCP_PORT_END=8002",
    ]
    assert found[6] == "MY_DB_PORT=tcp://172.17.0.2:80"
    assert link_variables("web", DB._replace(ports=[], env=[])) == ["MY_DB_NAME=/web/my-db"]


def test_lines_of_the_hosts_file() -> None:
    names = host_names(DB)
    assert names == "my-db 0123456789ab db"
    text = f"127.0.0.1\tlocalhost\n172.17.0.2\t{names}\n172.17.0.3\tweb\n"
    assert moved_hosts(text, names, "172.17.0.9") == text.replace("0.2", "0.9")
    assert moved_hosts(text, "other", "172.17.0.9") == text
    renamed = "my-db 0123456789ab data"
    assert moved_hosts(text, renamed, "172.17.0.9") == (
        f"127.0.0.1\tlocalhost\n172.17.0.9\t{renamed}\n172.17.0.3\tweb\n"
    )
    added = "10.0.0.1\tmy-db\n"
    assert moved_hosts(added, names, "172.17.0.9") == added
    assert hosts_without(added, [names]) == added
    assert hosts_without(text, [names]) == "127.0.0.1\tlocalhost\n172.17.0.3\tweb\n"
