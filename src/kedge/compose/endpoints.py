"""A service's networks as the API's endpoints. Pure."""

from collections.abc import Sequence

from kedge.lib.fields import mapping, number, objects, text, texts
from kedge.lib.jsontypes import Json, JsonObject


def ordered_networks(service: JsonObject) -> list[str]:
    """Return the keys of a service's networks; the first is the one it is created on."""
    found = mapping(service, "networks")
    return sorted(found, key=lambda key: (-number(found[key], "priority"), key))


def network_name(model: JsonObject, key: str) -> str:
    """Return what the engine calls a network of the model."""
    return text(model, "networks", key, "name") or key


def networking(
    service: JsonObject, model: JsonObject, aliases: Sequence[str], links: Sequence[str]
) -> tuple[str, JsonObject]:
    """Return NetworkMode and EndpointsConfig.

    Args:
        service: The service; ``network_mode`` may name another one.
        model: Where its networks are declared.
        aliases: Names of the container on each network besides those the service declares.
        links: ``CONTAINER:ALIAS`` on each network.
    """
    mode = text(service, "network_mode")
    if mode:
        return mode, {}
    keys = ordered_networks(service)
    if not keys:
        return "none", {}
    mac_owner = next(
        (key for key in keys if text(service, "networks", key, "mac_address")), keys[0]
    )
    endpoints: JsonObject = {}
    for key in keys:
        endpoint = _endpoint(mapping(service, "networks", key), aliases, links)
        if key == mac_owner and service.get("mac_address"):
            endpoint["MacAddress"] = text(service, "mac_address")
        endpoints[network_name(model, key)] = endpoint
    return network_name(model, keys[0]), endpoints


def _endpoint(settings: JsonObject, aliases: Sequence[str], links: Sequence[str]) -> JsonObject:
    declared = texts(settings, "aliases")
    endpoint: JsonObject = {"Aliases": [*dict.fromkeys([*aliases, *declared])]}
    addresses: JsonObject = {}
    for name, field in (("ipv4_address", "IPv4Address"), ("ipv6_address", "IPv6Address")):
        if settings.get(name):
            addresses[field] = text(settings, name)
    if settings.get("link_local_ips"):
        addresses["LinkLocalIPs"] = [*texts(settings, "link_local_ips")]
    if addresses:
        endpoint["IPAMConfig"] = addresses
    if links:
        endpoint["Links"] = [*links]
    options: dict[str, Json] = {
        key: str(value) for key, value in mapping(settings, "driver_opts").items()
    }
    if settings.get("interface_name"):
        options["com.docker.network.endpoint.ifname"] = text(settings, "interface_name")
    if options:
        endpoint["DriverOpts"] = options
    if settings.get("mac_address"):
        endpoint["MacAddress"] = text(settings, "mac_address")
    if settings.get("gw_priority"):
        endpoint["GwPriority"] = number(settings, "gw_priority")
    return endpoint


def network_request(network: JsonObject, labels: JsonObject) -> JsonObject:
    """Return the body of ``POST /networks/create``."""
    request: JsonObject = {
        "Name": text(network, "name"),
        "Driver": text(network, "driver") or "bridge",
        "Labels": labels,
        "Options": {key: str(value) for key, value in mapping(network, "driver_opts").items()},
        "Internal": network.get("internal") is True,
        "Attachable": network.get("attachable") is True,
    }
    for name, field in (("enable_ipv4", "EnableIPv4"), ("enable_ipv6", "EnableIPv6")):
        if network.get(name) is not None:
            request[field] = network[name]
    ipam = mapping(network, "ipam")
    pools: list[Json] = []
    for pool in objects(ipam, "config"):
        fields = (("subnet", "Subnet"), ("ip_range", "IPRange"), ("gateway", "Gateway"))
        entry: JsonObject = {field: pool[name] for name, field in fields if pool.get(name)}
        if pool.get("aux_addresses"):
            entry["AuxiliaryAddresses"] = pool["aux_addresses"]
        pools.append(entry)
    if ipam:
        request["IPAM"] = {
            "Driver": text(ipam, "driver") or "default",
            "Config": pools,
            "Options": {key: str(value) for key, value in mapping(ipam, "options").items()},
        }
    return request
