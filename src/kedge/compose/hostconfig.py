"""A service as the API's HostConfig: how its container is confined and connected. Pure.

Mounts are in `kedge.compose.mountspec`, limits in `kedge.compose.limits`.
"""

from typing import Final

from kedge.client.securityoptions import security_options
from kedge.compose.containerconfig import port_bindings, truth
from kedge.compose.limits import limits
from kedge.compose.values import parse_whole
from kedge.errdefs import InvalidParameterError
from kedge.lib.fields import items, mapping, number, text, texts
from kedge.lib.jsontypes import Json, JsonObject

_REPLICAS_MAX: Final = 10_000
_TEXTS: Final = {
    "cgroup": "CgroupnsMode",
    "cgroup_parent": "CgroupParent",
    "ipc": "IpcMode",
    "isolation": "Isolation",
    "pid": "PidMode",
    "runtime": "Runtime",
    "userns_mode": "UsernsMode",
    "uts": "UTSMode",
}
_LISTS: Final = {
    "cap_add": "CapAdd",
    "cap_drop": "CapDrop",
    "device_cgroup_rules": "DeviceCgroupRules",
    "dns": "Dns",
    "dns_opt": "DnsOptions",
    "dns_search": "DnsSearch",
    "group_add": "GroupAdd",
}
_SWITCHES: Final = {
    "init": "Init",
    "oom_kill_disable": "OomKillDisable",
    "privileged": "Privileged",
    "read_only": "ReadonlyRootfs",
}
_MAPS: Final = {"annotations": "Annotations", "storage_opt": "StorageOpt", "sysctls": "Sysctls"}
_RESTART_CONDITIONS: Final = {"none": "no", "any": "always"}


def host_config(service: JsonObject) -> JsonObject:
    """Return HostConfig without mounts and networks; ``service:x`` stays for the executor."""
    host: JsonObject = {
        field: str(service[name]) for name, field in _TEXTS.items() if service.get(name)
    }
    host |= {
        field: [str(one) for one in items(service, name)]
        for name, field in _LISTS.items()
        if service.get(name)
    }
    host |= {
        field: truth(service[name])
        for name, field in _SWITCHES.items()
        if service.get(name) is not None
    }
    for name, field in _MAPS.items():
        if service.get(name):
            host[field] = {
                key: "" if value is None else str(value)
                for key, value in mapping(service, name).items()
            }
    hosts = [str(one).replace("=", ":", 1) for one in items(service, "extra_hosts")]
    if hosts:
        host["ExtraHosts"] = [*hosts]
    bindings = port_bindings(service)
    if bindings:
        host["PortBindings"] = bindings
    logging = mapping(service, "logging")
    if logging:
        host["LogConfig"] = {
            "Type": text(logging, "driver"),
            "Config": {key: str(value) for key, value in mapping(logging, "options").items()},
        }
    host["RestartPolicy"] = restart_policy(service)
    host |= security_options(texts(service, "security_opt"))
    return host | limits(service)


def restart_policy(service: JsonObject) -> JsonObject:
    """Return the restart policy; ``restart`` wins over ``deploy.restart_policy``."""
    restart = text(service, "restart")
    if restart:
        name, _, count = restart.partition(":")
        return {"Name": name, "MaximumRetryCount": parse_whole(count or "0", "restart")}
    policy = mapping(service, "deploy", "restart_policy")
    if not policy:
        return {"Name": "no", "MaximumRetryCount": 0}
    condition = text(policy, "condition") or "any"
    name = _RESTART_CONDITIONS.get(condition, condition)
    attempts: Json = policy.get("max_attempts")
    counts = name == "on-failure" and attempts is not None
    return {
        "Name": name,
        "MaximumRetryCount": parse_whole(attempts, "max_attempts") if counts else 0,
    }


def replicas(service: JsonObject) -> int:
    """Return how many containers a service asks for."""
    for value in (service.get("scale"), mapping(service, "deploy").get("replicas")):
        if value is not None:
            number = parse_whole(value, "replicas")
            if number > _REPLICAS_MAX:
                raise InvalidParameterError(
                    f"replicas: {number} containers are too many: want at most {_REPLICAS_MAX}"
                )
            return number
    return 1


def wants_restart(service: JsonObject) -> bool:
    """Whether the engine starts the service's containers again by itself."""
    policy = restart_policy(service)
    return text(policy, "Name") not in {"", "no"} or number(policy, "MaximumRetryCount") > 0
