"""Attributes of services as fields of the create request."""

import pytest

from kedge.compose.application import Application
from kedge.compose.createspec import ContainerSpec, container_spec, pre_start_specs
from kedge.compose.endpoints import network_request
from kedge.errdefs import InvalidParameterError, KedgeError, NotSupportedError
from kedge.lib.fields import mapping, pick
from kedge.lib.jsontypes import Json
from tests.unit.compose.states import application


def _spec(attributes: str, rest: str = "", **environ: str) -> ContainerSpec:
    return container_spec(_app(attributes, rest, **environ), "s", 1, "sha256:i")


def _app(attributes: str, rest: str = "", **environ: str) -> Application:
    return application(
        f"services: {{s: {{image: i, {attributes}}}, t: {{image: i}}}}\n{rest}", **environ
    )


CASES: list[tuple[str, str, Json]] = [
    ("command: 'a \"b c\"'", "Cmd", ["a", "b c"]),
    ("command: []", "Cmd", []),
    ("entrypoint: /e x", "Entrypoint", ["/e", "x"]),
    ("environment: {A: 1, B: , C: ''}", "Env", ["A=1", "B", "C="]),
    ("hostname: h", "Hostname", "h"),
    ("domainname: d", "Domainname", "d"),
    ("user: '1:2'", "User", "1:2"),
    ("working_dir: /w", "WorkingDir", "/w"),
    ("tty: true", "Tty", True),
    ("stdin_open: true", "OpenStdin", True),
    ("stop_signal: SIGINT", "StopSignal", "SIGINT"),
    ("stop_grace_period: 1m30s", "StopTimeout", 90),
    ("stop_grace_period: 1500ms", "StopTimeout", 2),
    ("expose: [3000, '8080-8081/udp']", "ExposedPorts",
     {"3000/tcp": {}, "8080/udp": {}, "8081/udp": {}}),
    ("ports: ['127.0.0.1:8000:80', '53:53/udp']", "HostConfig.PortBindings",
     {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}],
      "53/udp": [{"HostIp": "", "HostPort": "53"}]}),
    ("ports: [80]", "HostConfig.PortBindings", {"80/tcp": [{"HostIp": "", "HostPort": ""}]}),
    ("healthcheck: {test: c, interval: 2s, timeout: 1s, retries: 4, start_period: 1m}",
     "Healthcheck", {"Test": ["CMD-SHELL", "c"], "Interval": 2 * 10**9, "Timeout": 10**9,
                     "StartPeriod": 60 * 10**9, "Retries": 4}),
    ("healthcheck: {disable: true}", "Healthcheck", {"Test": ["NONE"]}),
    ("restart: always", "HostConfig.RestartPolicy", {"Name": "always", "MaximumRetryCount": 0}),
    ("restart: 'on-failure:3'", "HostConfig.RestartPolicy",
     {"Name": "on-failure", "MaximumRetryCount": 3}),
    ("deploy: {restart_policy: {condition: on-failure, max_attempts: 5}}",
     "HostConfig.RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 5}),
    ("deploy: {restart_policy: {condition: any}}", "HostConfig.RestartPolicy.Name", "always"),
    ("deploy: {resources: {limits: {cpus: '0.5', memory: 64M, pids: 9}}}",
     "HostConfig.NanoCpus", 500_000_000),
    ("deploy: {resources: {limits: {memory: 64M}}}", "HostConfig.Memory", 64 << 20),
    ("deploy: {resources: {reservations: {memory: 32M}}}", "HostConfig.MemoryReservation",
     32 << 20),
    ("deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 2}]}}}",
     "HostConfig.DeviceRequests",
     [{"Driver": "", "Capabilities": [["gpu"]], "Options": {}, "Count": 2}]),
    ("gpus: all", "HostConfig.DeviceRequests",
     [{"Driver": "", "Capabilities": [["gpu"]], "Options": {}, "Count": -1}]),
    ("cpus: 1.5", "HostConfig.NanoCpus", 1_500_000_000),
    ("mem_limit: 1g", "HostConfig.Memory", 1 << 30),
    ("memswap_limit: -1", "HostConfig.MemorySwap", -1),
    ("pids_limit: 7", "HostConfig.PidsLimit", 7),
    ("shm_size: 1m", "HostConfig.ShmSize", 1 << 20),
    ("cpu_shares: 5", "HostConfig.CpuShares", 5),
    ("cpuset: '0,1'", "HostConfig.CpusetCpus", "0,1"),
    ("oom_score_adj: -3", "HostConfig.OomScoreAdj", -3),
    ("blkio_config: {weight: 300, device_read_bps: [{path: /dev/a, rate: 1k}]}",
     "HostConfig.BlkioDeviceReadBps", [{"Path": "/dev/a", "Rate": 1024}]),
    ("ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}", "HostConfig.Ulimits",
     [{"Name": "nofile", "Soft": 1, "Hard": 2}, {"Name": "nproc", "Soft": 3, "Hard": 3}]),
    ("devices: ['/dev/a:/dev/b:r']", "HostConfig.Devices",
     [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}]),
    ("devices: ['v.com/gpu=0']", "HostConfig.DeviceRequests",
     [{"Driver": "cdi", "DeviceIDs": ["v.com/gpu=0"]}]),
    ("cap_add: [NET_ADMIN]", "HostConfig.CapAdd", ["NET_ADMIN"]),
    ("cap_drop: [ALL]", "HostConfig.CapDrop", ["ALL"]),
    ("privileged: true", "HostConfig.Privileged", True),
    ("read_only: true", "HostConfig.ReadonlyRootfs", True),
    ("init: true", "HostConfig.Init", True),
    ("ipc: host", "HostConfig.IpcMode", "host"),
    ("pid: 'service:t'", "HostConfig.PidMode", "service:t"),
    ("network_mode: 'service:t'", "HostConfig.NetworkMode", "service:t"),
    ("network_mode: host", "HostConfig.NetworkMode", "host"),
    ("uts: host", "HostConfig.UTSMode", "host"),
    ("userns_mode: host", "HostConfig.UsernsMode", "host"),
    ("cgroup: private", "HostConfig.CgroupnsMode", "private"),
    ("cgroup_parent: c", "HostConfig.CgroupParent", "c"),
    ("runtime: r", "HostConfig.Runtime", "r"),
    ("dns: 1.1.1.1", "HostConfig.Dns", ["1.1.1.1"]),
    ("dns_search: [a, b]", "HostConfig.DnsSearch", ["a", "b"]),
    ("dns_opt: [x]", "HostConfig.DnsOptions", ["x"]),
    ("extra_hosts: {h: 1.2.3.4}", "HostConfig.ExtraHosts", ["h:1.2.3.4"]),
    ("group_add: [5, g]", "HostConfig.GroupAdd", ["5", "g"]),
    ("sysctls: {net.a: 1}", "HostConfig.Sysctls", {"net.a": "1"}),
    ("annotations: {a: b}", "HostConfig.Annotations", {"a": "b"}),
    ("storage_opt: {size: 1G}", "HostConfig.StorageOpt", {"size": "1G"}),
    ("logging: {driver: json-file, options: {max-size: 1m}}", "HostConfig.LogConfig",
     {"Type": "json-file", "Config": {"max-size": "1m"}}),
    ("security_opt: ['no-new-privileges']", "HostConfig.SecurityOpt", ["no-new-privileges"]),
    ("security_opt: ['systempaths=unconfined']", "HostConfig.MaskedPaths", []),
    ("tmpfs: ['/t:size=1m', /u]", "HostConfig.Tmpfs", {"/t": "size=1m", "/u": ""}),
    ("volumes: ['/h:/c:ro']", "HostConfig.Binds", ["/h:/c:ro"]),
    ("volumes: ['./h:/c:z']", "HostConfig.Binds", ["/p/h:/c:rw,z"]),
    ("volumes: [/anonymous]", "HostConfig.Mounts", [{"Type": "volume", "Target": "/anonymous"}]),
    ("volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1k, mode: 0700}}]", "HostConfig.Mounts",
     [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1024, "Mode": 0o700}}]),
    ("volumes: [{type: bind, source: /h, target: /c, bind: {create_host_path: false}}]",
     "HostConfig.Mounts", [{"Type": "bind", "Source": "/h", "Target": "/c"}]),
    ("volumes: [{type: image, source: img, target: /c, image: {subpath: d}}]",
     "HostConfig.Mounts", [{"Type": "image", "Source": "img", "Target": "/c",
                            "ImageOptions": {"Subpath": "d"}}]),
    ("volumes_from: [t, 'container:x:ro']", "HostConfig.VolumesFrom", ["t", "container:x:ro"]),
    ("use_api_socket: true", "HostConfig.Binds", ["/var/run/docker.sock:/var/run/docker.sock:rw"]),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "path", "wanted"), CASES, ids=[case[0] for case in CASES])
def test_an_attribute_becomes_a_field(attributes: str, path: str, wanted: Json) -> None:
    assert pick(_spec(attributes).request, *path.split(".")) == wanted


def test_networks_become_endpoints_the_most_important_first() -> None:
    spec = _spec(
        """networks: {
          a: {aliases: [x, y], ipv4_address: 10.0.0.9, interface_name: eth7, priority: 1},
          b: {mac_address: '02:00:00:00:00:01', gw_priority: 5, link_local_ips: [169.254.1.1],
              driver_opts: {k: 1}, priority: 10}}""",
        "networks: {a: , b: {name: theirs}}",
    )
    assert pick(spec.request, "HostConfig", "NetworkMode") == "theirs"
    assert mapping(spec.request, "NetworkingConfig", "EndpointsConfig") == {
        "theirs": {
            "Aliases": ["app-s-1", "s"], "MacAddress": "02:00:00:00:00:01", "GwPriority": 5,
            "IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}, "DriverOpts": {"k": "1"},
        },
        "app_a": {
            "Aliases": ["app-s-1", "s", "x", "y"], "IPAMConfig": {"IPv4Address": "10.0.0.9"},
            "DriverOpts": {"com.docker.network.endpoint.ifname": "eth7"},
        },
    }  # fmt: skip


def test_links_and_the_service_s_mac_address_are_the_endpoint_s() -> None:
    spec = _spec("links: ['t:db'], external_links: ['x:y'], mac_address: '02:00:00:00:00:02'")
    endpoint = mapping(spec.request, "NetworkingConfig", "EndpointsConfig", "app_default")
    assert endpoint["Links"] == ["app-t-1:db", "app-t-1:t-1", "x:y"]
    assert endpoint["MacAddress"] == "02:00:00:00:00:02"


def test_named_volumes_have_the_project_s_name() -> None:
    spec = _spec("volumes: ['data:/d:ro']", "volumes: {data: }")
    assert pick(spec.request, "HostConfig", "Mounts") == [
        {"Type": "volume", "Source": "app_data", "Target": "/d", "ReadOnly": True}
    ]


def test_secrets_and_configs_are_mounted_or_copied() -> None:
    spec = _spec(
        "secrets: [{source: a, target: other, uid: '7', mode: 0400}, f], configs: [c]",
        "secrets: {a: {environment: TOKEN}, f: {file: ./f.txt}}\nconfigs: {c: {content: hello}}",
        TOKEN="t0p",
    )
    assert pick(spec.request, "HostConfig", "Mounts") == [
        {"Type": "bind", "Source": "/p/f.txt", "Target": "/run/secrets/f", "ReadOnly": True}
    ]
    assert [(one.path, one.content, one.uid, one.mode) for one in spec.files] == [
        ("/c", b"hello", 0, 0o444), ("/run/secrets/other", b"t0p", 7, 0o400),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "rest", "kind", "message"),
    [
        ("secrets: [x]", "secrets: {x: {external: true}}", NotSupportedError,
         "unsupported external secret x"),
        ("configs: [x]", "configs: {x: {environment: NOPE}}", InvalidParameterError,
         'environment variable "NOPE" required by config "x" is not set'),
        ("configs: [x], read_only: true", "configs: {x: {content: c}}", InvalidParameterError,
         "cannot put /x into a service with read_only"),
        ("volumes: [{type: npipe, source: a, target: b}]", "", NotSupportedError,
         "volumes of type npipe are not for a single Linux host"),
        ("security_opt: ['seccomp=/nowhere']", "", InvalidParameterError, "/nowhere"),
        ("expose: [x]", "", InvalidParameterError, "expose: invalid port: x"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_said(
    attributes: str, rest: str, kind: type[KedgeError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        _spec(attributes, rest)


def test_a_hook_s_container_has_the_mounts_and_networks_but_no_ports() -> None:
    app = _app(
        "ports: [80], volumes: ['/h:/c'], environment: {A: 1}, restart: always, "
        "pre_start: [{command: 'm --all', image: tool, user: u, environment: [B=2]}]"
    )
    (spec,) = pre_start_specs(app, "s")
    assert spec.name == "app-s-pre_start-1"
    assert {key: spec.request[key] for key in ("Image", "User", "Entrypoint", "Cmd", "Env")} == {
        "Image": "tool", "User": "u", "Entrypoint": ["m"], "Cmd": ["--all"], "Env": ["A=1", "B=2"],
    }  # fmt: skip
    host = mapping(spec.request, "HostConfig")
    assert "PortBindings" not in host
    assert host["Binds"] == ["/h:/c:rw"]
    assert host["RestartPolicy"] == {"Name": "no"}


def test_a_network_s_request() -> None:
    app = application("""
services: {s: {image: i, networks: [n]}}
networks:
  n:
    driver: d
    internal: true
    enable_ipv6: true
    driver_opts: {a: 1}
    ipam: {config: [{subnet: 10.1.0.0/16, ip_range: 10.1.2.0/24, gateway: 10.1.0.1,
           aux_addresses: {h: 10.1.0.2}}]}
""")
    assert network_request(mapping(app.model, "networks", "n"), {"l": "v"}) == {
        "Name": "app_n", "Driver": "d", "Labels": {"l": "v"}, "Options": {"a": "1"},
        "Internal": True, "Attachable": False, "EnableIPv6": True,
        "IPAM": {"Driver": "default", "Options": {}, "Config": [
            {"Subnet": "10.1.0.0/16", "IPRange": "10.1.2.0/24", "Gateway": "10.1.0.1",
             "AuxiliaryAddresses": {"h": "10.1.0.2"}}]},
    }  # fmt: skip
