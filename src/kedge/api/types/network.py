"""Networks on the wire. Vocabulary: moby `api/types/network`."""

from msgspec import field

from kedge.api.types.config import EndpointSettings
from kedge.api.types.wire import Wire, shown_dict, shown_list, shown_null, zero_time


class IPAMConfig(Wire):
    """One address range of a network."""

    subnet: str = ""
    ip_range: str = field(name="IPRange", default="")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = field(default_factory=dict)


class IPAM(Wire):
    """How a network gives out addresses."""

    driver: str = field(default_factory=str)
    options: dict[str, str] | None = field(default_factory=shown_null)
    config: list[IPAMConfig] = shown_list()


class ConfigReference(Wire):
    """The network whose configuration this one copies."""

    network: str = field(default_factory=str)


class EndpointResource(Wire):
    """A container on a network; addresses carry their prefix length."""

    name: str = field(default_factory=str)
    endpoint_id: str = field(name="EndpointID", default_factory=str)
    mac_address: str = field(default_factory=str)
    ipv4_address: str = field(name="IPv4Address", default_factory=str)
    ipv6_address: str = field(name="IPv6Address", default_factory=str)


class Network(Wire):
    """A network as list and inspect show it; `containers` is filled by inspect."""

    name: str = field(default_factory=str)
    id: str = field(default_factory=str)
    created: str = field(default_factory=zero_time)
    scope: str = field(default_factory=lambda: "local")
    driver: str = field(default_factory=str)
    enable_ipv4: bool = field(name="EnableIPv4", default_factory=bool)
    enable_ipv6: bool = field(name="EnableIPv6", default_factory=bool)
    ipam: IPAM = field(name="IPAM", default_factory=IPAM)
    internal: bool = field(default_factory=bool)
    attachable: bool = field(default_factory=bool)
    ingress: bool = field(default_factory=bool)
    config_from: ConfigReference = field(default_factory=ConfigReference)
    config_only: bool = field(default_factory=bool)
    containers: dict[str, EndpointResource] = shown_dict()
    options: dict[str, str] = shown_dict()
    labels: dict[str, str] = shown_dict()


class NetworkCreateRequest(Wire):
    """Body of ``POST /networks/create``."""

    name: str = field(default_factory=str)
    check_duplicate: bool | None = None
    driver: str = field(default_factory=str)
    scope: str = field(default_factory=str)
    enable_ipv4: bool | None = field(name="EnableIPv4", default=None)
    enable_ipv6: bool | None = field(name="EnableIPv6", default=None)
    ipam: IPAM | None = field(name="IPAM", default=None)
    internal: bool = field(default_factory=bool)
    attachable: bool = field(default_factory=bool)
    ingress: bool = field(default_factory=bool)
    config_only: bool = field(default_factory=bool)
    config_from: ConfigReference | None = None
    options: dict[str, str] = shown_dict()
    labels: dict[str, str] = shown_dict()


class NetworkCreateResponse(Wire):
    """The id of a new network."""

    id: str = field(default_factory=str)
    warning: str = field(default_factory=str)


class NetworkConnectRequest(Wire):
    """Body of ``POST /networks/{id}/connect``."""

    container: str = field(default_factory=str)
    endpoint_config: EndpointSettings | None = None


class NetworkDisconnectRequest(Wire):
    """Body of ``POST /networks/{id}/disconnect``."""

    container: str = field(default_factory=str)
    force: bool = field(default_factory=bool)


class NetworksPruneResponse(Wire):
    """The networks a prune removed."""

    networks_deleted: list[str] = shown_list()
