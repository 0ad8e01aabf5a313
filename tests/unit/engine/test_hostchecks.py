import pytest

from kedge.api.types.config import ContainerConfig, HostConfig
from kedge.api.types.wire import Empty
from kedge.engine.hostchecks import (
    check_cgroup_parent,
    check_modes,
    check_network_mode,
    check_process,
    check_storage,
    check_sysctls,
    check_tmpfs,
)
from kedge.errdefs import InvalidParameterError


@pytest.mark.parametrize(
    ("config", "host", "text"),
    [
        (ContainerConfig(), HostConfig(ipc_mode="all"), "invalid IPC mode: all"),
        (ContainerConfig(), HostConfig(ipc_mode="container:"), "invalid IPC mode: container:"),
        (ContainerConfig(), HostConfig(pid_mode="none"), "invalid PID mode: none"),
        (ContainerConfig(), HostConfig(uts_mode="x"), "invalid UTS mode: x"),
        (ContainerConfig(), HostConfig(cgroupns_mode="x"), "invalid cgroup namespace mode: x"),
        (ContainerConfig(), HostConfig(isolation="hyperv"), 'invalid isolation "hyperv" on linux'),
        (
            ContainerConfig(hostname="h"),
            HostConfig(uts_mode="host"),
            "conflicting options: hostname and the UTS mode",
        ),
    ],
)
def test_modes(config: ContainerConfig, host: HostConfig, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        check_modes(config, host)


@pytest.mark.parametrize(
    ("config", "host", "text"),
    [
        (ContainerConfig(hostname="h"), HostConfig(), "hostname and the network mode"),
        (
            ContainerConfig(),
            HostConfig(links=["a:b"]),
            "container type network can't be used with links",
        ),
        (ContainerConfig(), HostConfig(dns=["192.0.2.1"]), "dns and the network mode"),
        (
            ContainerConfig(),
            HostConfig(extra_hosts=["a:1.1.1.1"]),
            "custom host-to-IP mapping and the",
        ),
        (ContainerConfig(mac_address="02::1"), HostConfig(), "mac-address and the network mode"),
        (
            ContainerConfig(),
            HostConfig(publish_all_ports=True),
            "port publishing and the container type",
        ),
        (
            ContainerConfig(exposed_ports={"80/tcp": Empty()}),
            HostConfig(),
            "port exposing and the container",
        ),
    ],
)
def test_what_goes_not_with_anothers_network(
    config: ContainerConfig, host: HostConfig, text: str
) -> None:
    host.network_mode = "bridge"
    check_network_mode(config, host)
    host.network_mode = "container:web"
    with pytest.raises(InvalidParameterError, match=f"conflicting options: {text}"):
        check_network_mode(config, host)


def test_a_network_mode_names_its_container() -> None:
    with pytest.raises(InvalidParameterError, match="invalid container format container:<name"):
        check_network_mode(ContainerConfig(), HostConfig(network_mode="container:"))
    with pytest.raises(InvalidParameterError, match="host type networking can't be used with"):
        check_network_mode(ContainerConfig(), HostConfig(network_mode="host", links=["a:b"]))


@pytest.mark.parametrize("mode", ["", "private", "shareable", "none", "host", "container:x"])
def test_every_ipc_mode(mode: str) -> None:
    host = HostConfig(ipc_mode=mode)
    check_modes(ContainerConfig(), host)
    assert host.ipc_mode == mode


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (ContainerConfig(env=["=x"]), "invalid environment variable: =x"),
        (ContainerConfig(env=[""]), "invalid environment variable: "),
        (ContainerConfig(env=["A=\0"]), "A has a NUL"),
        (ContainerConfig(working_dir="tmp"), "'tmp' is invalid, it needs to be an absolute path"),
    ],
)
def test_processes(config: ContainerConfig, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        check_process(config, HostConfig())


def test_annotations_have_names() -> None:
    with pytest.raises(InvalidParameterError, match="annotation key"):
        check_process(ContainerConfig(), HostConfig(annotations={"": "x"}))


@pytest.mark.parametrize(
    ("host", "text"),
    [
        (HostConfig(sysctls={"kernel.panic": "1"}), "not in a separate kernel namespace"),
        (HostConfig(sysctls={"net.x": "1"}, network_mode="host"), "host network namespace"),
        (HostConfig(sysctls={"kernel/shmmax": "1"}, ipc_mode="host"), "host ipc namespace"),
        (HostConfig(sysctls={"kernel.domainname": "x"}, uts_mode="host"), "host uts namespace"),
    ],
)
def test_sysctls(host: HostConfig, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        check_sysctls(host)


@pytest.mark.parametrize(
    ("tmpfs", "text"),
    [
        ({"x": ""}, "invalid mount path: 'x' mount path must be absolute"),
        ({"/": ""}, "destination can't be '/'"),
        ({"/x": "colour=red"}, r'Invalid tmpfs option \["colour=red"\]'),
        ({"/x": "size="}, "Invalid tmpfs option"),
        ({"/x": "ro,,rw"}, "Invalid tmpfs option"),
    ],
)
def test_tmpfs(tmpfs: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        check_tmpfs(HostConfig(tmpfs=tmpfs))


def test_storage_options() -> None:
    with pytest.raises(InvalidParameterError, match="only for overlay over xfs with 'pquota'"):
        check_storage({"size": "1g"})
    with pytest.raises(InvalidParameterError, match="Unknown option colour"):
        check_storage({"colour": "red"})


@pytest.mark.parametrize("parent", ["../x", "/a/../../x", "team.slice", "a\0b"])
def test_cgroup_parents(parent: str) -> None:
    with pytest.raises(InvalidParameterError, match="cgroup-parent"):
        check_cgroup_parent(parent)
