"""A service as the API's ContainerConfig: what its program is and sees. Pure.

A service is in the form `kedge.compose.presentation` gives it.
"""

from collections.abc import Mapping
from typing import Final

from kedge.compose.ports import is_port
from kedge.compose.values import parse_span, parse_whole, shell_words
from kedge.errdefs import InvalidParameterError
from kedge.lib.durations import SECOND
from kedge.lib.fields import items, mapping, objects, text, texts
from kedge.lib.jsontypes import Json, JsonObject

_TEXTS: Final = {
    "hostname": "Hostname",
    "domainname": "Domainname",
    "user": "User",
    "working_dir": "WorkingDir",
    "stop_signal": "StopSignal",
}
_HEALTH_TIMES: Final = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}


def container_config(service: JsonObject, image: str, labels: Mapping[str, str]) -> JsonObject:
    """Return the fields of a create request that are no HostConfig."""
    config: JsonObject = {
        "Image": image,
        "Labels": {**labels},
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": truth(service.get("tty")),
        "OpenStdin": truth(service.get("stdin_open")),
        "StdinOnce": False,
    }
    config |= {field: str(service[name]) for name, field in _TEXTS.items() if service.get(name)}
    for name, field in (("command", "Cmd"), ("entrypoint", "Entrypoint")):
        value = service.get(name)
        if isinstance(value, list):
            config[field] = [*value]
    environment = mapping(service, "environment")
    if environment:
        config["Env"] = environment_list(environment)
    exposed = exposed_ports(service)
    if exposed:
        config["ExposedPorts"] = {port: {} for port in exposed}
    health = healthcheck(mapping(service, "healthcheck"))
    if health:
        config["Healthcheck"] = health
    if service.get("stop_grace_period"):
        config["StopTimeout"] = grace_period_s(service)
    if service.get("mac_address") and not mapping(service, "networks"):
        config["MacAddress"] = str(service["mac_address"])
    return config


def truth(value: Json) -> bool:
    """Return a boolean that may have come as text."""
    return value is True or (isinstance(value, str) and value.lower() in {"true", "yes", "on", "y"})


def environment_list(environment: JsonObject) -> list[Json]:
    """Return ``NAME=value`` entries; a name without a value is taken away, the image's too."""
    return [
        name if value is None else f"{name}={value}" for name, value in sorted(environment.items())
    ]


def command_words(hook: JsonObject) -> list[str]:
    """Return the words of a hook's command."""
    command = hook.get("command")
    return shell_words(command) if isinstance(command, str) else texts(hook, "command")


def hook_environment(hook: JsonObject) -> JsonObject:
    """Return a hook's environment by name."""
    given = hook.get("environment")
    if isinstance(given, list):
        pairs = [str(one).partition("=") for one in given]
        return {key: value if equals else None for key, equals, value in pairs}
    return mapping(hook, "environment")


def grace_period_s(service: JsonObject) -> int:
    """Return the seconds a service has to stop, at least as long as it asks for."""
    span = parse_span(text(service, "stop_grace_period"))
    return -(-span // SECOND)


def healthcheck(check: JsonObject) -> JsonObject:
    """Return the API's health check."""
    if truth(check.get("disable")):
        return {"Test": ["NONE"]}
    found: JsonObject = {
        field: parse_span(text(check, name))
        for name, field in _HEALTH_TIMES.items()
        if check.get(name)
    }
    if check.get("retries") is not None:
        found["Retries"] = parse_whole(check["retries"], "healthcheck.retries")
    if check.get("test"):
        found["Test"] = [*texts(check, "test")]
    return found


def exposed_ports(service: JsonObject) -> list[str]:
    """Return every port the service listens on: ``80/tcp``."""
    found: dict[str, None] = {}
    for entry in items(service, "expose"):
        span, _, protocol = str(entry).partition("/")
        first, _, last = span.partition("-")
        if not is_port(first) or (last and not is_port(last)):
            raise InvalidParameterError(f"expose: invalid port: {entry}")
        for port in range(int(first), int(last or first) + 1):
            found[f"{port}/{protocol or 'tcp'}"] = None
    for entry in objects(service, "ports"):
        found[f"{entry.get('target')}/{entry.get('protocol') or 'tcp'}"] = None
    return list(found)


def port_bindings(service: JsonObject) -> JsonObject:
    """Return the API's PortBindings."""
    found: dict[str, list[Json]] = {}
    for entry in objects(service, "ports"):
        port = f"{entry.get('target')}/{entry.get('protocol') or 'tcp'}"
        published = entry.get("published")
        found.setdefault(port, []).append(
            {
                "HostIp": text(entry, "host_ip"),
                "HostPort": "" if published is None else str(published),
            }
        )
    return {**found}
