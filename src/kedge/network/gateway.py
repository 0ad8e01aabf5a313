"""Which of a container's networks has its default routes. Pure; the rule is Docker's.

The highest ``GwPriority`` wins, then the first network by name. A network without a gateway (an
internal one) never does. Each IP version is decided on its own.
"""

from collections.abc import Mapping, Sequence

from kedge.network.model import Endpoint

VERSIONS = (4, 6)


def try_gateway(
    endpoints: Sequence[Endpoint], priorities: Mapping[str, int], version: int
) -> Endpoint | None:
    """Return the endpoint whose network carries the default route of an IP version.

    Args:
        endpoints: All of one container.
        priorities: ``GwPriority`` by network id; 0 where it is missing.
        version: 4 or 6.
    """
    candidates = [item for item in endpoints if _has_gateway(item, version)]
    return min(
        candidates,
        key=lambda item: (-priorities.get(item.network_id, 0), item.network_name),
        default=None,
    )


def gateway_versions(
    endpoint: Endpoint, endpoints: Sequence[Endpoint], priorities: Mapping[str, int]
) -> frozenset[int]:
    """Return the IP versions whose default route goes through ``endpoint``."""
    return frozenset(
        version
        for version in VERSIONS
        if (winner := try_gateway(endpoints, priorities, version)) is not None
        and winner.id == endpoint.id
    )


def _has_gateway(endpoint: Endpoint, version: int) -> bool:
    gateway = endpoint.gateway4 if version == 4 else endpoint.gateway6
    address = endpoint.ipv4 if version == 4 else endpoint.ipv6
    return gateway is not None or (endpoint.extras.is_on_link and address is not None)
