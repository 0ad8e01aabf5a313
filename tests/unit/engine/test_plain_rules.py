import itertools
import signal

import pytest

from kedge.api.types.config import ContainerConfig, HostConfig, Mount, PortBinding, RestartPolicy
from kedge.api.types.wire import Empty
from kedge.engine.create import check_host_config
from kedge.engine.links import parse_link
from kedge.engine.mounts import parse_mounts
from kedge.engine.ports import parse_port, published_ports
from kedge.engine.signals import parse_signal
from kedge.engine.state import Status, follow
from kedge.errdefs import (
    ConflictError,
    InvalidParameterError,
    KedgeError,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("SIGTERM", 15), ("sigterm", 15), ("9", 9), ("RTMIN+3", signal.SIGRTMIN + 3)],
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "FLY", "0", "65", "RTMIN+99"])
def test_bad_signals(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid signal"):
        parse_signal(text)


def test_nothing_leaves_removing_but_dead() -> None:
    for new in Status:
        if new is Status.DEAD:
            assert follow(Status.REMOVING, new, container="x") is new
        else:
            with pytest.raises(ConflictError):
                follow(Status.REMOVING, new, container="x")


def test_a_container_that_lives_cannot_be_removed() -> None:
    for current in (Status.RUNNING, Status.PAUSED):
        with pytest.raises(ConflictError, match="cannot become removing"):
            follow(current, Status.REMOVING, container="web")


def test_every_status_can_be_left() -> None:
    reached = {
        new for current, new in itertools.product(Status, Status) if _may_follow(current, new)
    }
    assert reached == set(Status) - {Status.CREATED}


def _may_follow(current: Status, new: Status) -> bool:
    try:
        follow(current, new, container="x")
    except ConflictError:
        return False
    return True


def test_ports_default_to_tcp() -> None:
    assert str(parse_port("80")) == "80/tcp"
    assert str(parse_port("53/UDP")) == "53/udp"


@pytest.mark.parametrize("text", ["", "0", "65536", "80/icmp", "x", "-1"])
def test_bad_ports(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid port specification"):
        parse_port(text)


def test_publish_all_takes_what_is_exposed_and_not_bound() -> None:
    config = ContainerConfig(exposed_ports={"80/tcp": Empty(), "81/tcp": Empty()})
    host = HostConfig(
        publish_all_ports=True, port_bindings={"80/tcp": [PortBinding(host_port="8080")]}
    )
    wanted = [(str(port), binding.host_port) for port, binding in published_ports(config, host)]
    assert wanted == [("80/tcp", "8080"), ("81/tcp", "")]


def test_bind_modes() -> None:
    (point,) = parse_mounts(HostConfig(binds=["/a:/b:ro,rslave"]))
    assert (point.source, point.destination, point.is_writable, point.propagation) == (
        "/a", "/b", False, "rslave",
    )  # fmt: skip


@pytest.mark.parametrize(
    "bind", ["/a:b", "/a:/", "/a:/b:fast", "/a:/b:ro:rw", "data:b", "only", "/a::ro"]
)
def test_bad_binds(bind: str) -> None:
    with pytest.raises(KedgeError):
        parse_mounts(HostConfig(binds=[bind]))


def test_two_mounts_on_one_path() -> None:
    host = HostConfig(binds=["/a:/x"], mounts=[Mount(type="bind", source="/b", target="/x")])
    with pytest.raises(InvalidParameterError, match="Duplicate mount point: /x"):
        parse_mounts(host)


@pytest.mark.parametrize(
    ("host", "text"),
    [
        (HostConfig(restart_policy=RestartPolicy(name="maybe")), "unknown policy 'maybe'"),
        (
            HostConfig(auto_remove=True, restart_policy=RestartPolicy(name="always")),
            "can't create 'AutoRemove' container with restart policy",
        ),
    ],
)
def test_restart_policies_with_dockers_texts(host: HostConfig, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        check_host_config(host)


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("db", ("db", "db")),
        ("db:store", ("db", "store")),
        ("/db:/web/store", ("db", "store")),
    ],
)
def test_links(text: str, link: tuple[str, str]) -> None:
    assert parse_link(text) == link


@pytest.mark.parametrize("text", ["", ":store", "db:", "db:a:b"])
def test_links_that_are_none(text: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"bad format for links: {text}"):
        check_host_config(HostConfig(links=[text]))
