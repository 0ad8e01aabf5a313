"""Names derived from the data root and from container ids; any number of engines fit on a host.

A name of an interface has at most 15 characters. Names are never random, so that a restarted
engine finds what it made before.
"""

import hashlib
import os
from typing import Final

_DEFAULT_ROOT: Final = "/var/lib/kedge"
_VETH_ID_DIGITS: Final = 10
_INDEX_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
TABLE_PREFIX: Final = "kedge-"


def engine_tag(data_root: str) -> str:
    """Return six hexadecimal digits that stand for an engine."""
    return hashlib.sha256(os.path.abspath(data_root).encode()).hexdigest()[:6]


def table_name(data_root: str) -> str:
    """Return the name of the engine's nf_tables table."""
    return TABLE_PREFIX + engine_tag(data_root)


def default_bridge_name(data_root: str) -> str:
    """Return ``kedge0`` for the default data root, ``kedge-<tag>`` for any other."""
    if os.path.abspath(data_root) == _DEFAULT_ROOT:
        return "kedge0"
    return f"kedge-{engine_tag(data_root)}"


def bridge_name(network_id: str) -> str:
    """Return the bridge of a user-defined network, as Docker names it."""
    return f"br-{network_id[:12]}"


def veth_name(container_id: str, index: int) -> str:
    """Return the host end of a container's link; ``index`` counts its networks.

    Raises:
        ValueError: More networks than there are digits.
    """
    if not 0 <= index < len(_INDEX_DIGITS):
        raise ValueError(f"container {container_id[:12]} is in too many networks")
    return f"veth{container_id[:_VETH_ID_DIGITS]}{_INDEX_DIGITS[index]}"


def mac_for(address: bytes) -> str:
    """Return a locally administered MAC address for an endpoint.

    From the IPv4 address, as Docker did for a decade: whoever gets an address again also gets its
    MAC address, so that no neighbour keeps a stale pair.

    Args:
        address: The packed IPv4 address; a longer one is hashed.
    """
    tail = address if len(address) == 4 else hashlib.sha256(address).digest()[:4]
    return "02:42:" + tail.hex(":")
