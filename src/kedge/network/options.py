"""A network's driver options: which there are, what they may say. Pure.

Names are Docker's (``com.docker.network.*``, ``parent``, ``macvlan_mode``...). An option that no
driver here honours is refused with those that are, instead of being kept and forgotten.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kedge.errdefs import InvalidParameterError
from kedge.linux.rtnetlink import IFNAMSIZ, IPVLAN_FLAGS, IPVLAN_MODES, MACVLAN_MODES
from kedge.network.ipam import IPAddress
from kedge.network.model import Driver, EndpointExtras, GatewayMode

BRIDGE_NAME: Final = "com.docker.network.bridge.name"
ENABLE_ICC: Final = "com.docker.network.bridge.enable_icc"
MASQUERADE: Final = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING: Final = "com.docker.network.bridge.host_binding_ipv4"
INHIBIT_IPV4: Final = "com.docker.network.bridge.inhibit_ipv4"
GATEWAY_MODE4: Final = "com.docker.network.bridge.gateway_mode_ipv4"
GATEWAY_MODE6: Final = "com.docker.network.bridge.gateway_mode_ipv6"
TRUSTED_LINKS: Final = "com.docker.network.bridge.trusted_host_interfaces"
SOURCE4: Final = "com.docker.network.host_ipv4"
SOURCE6: Final = "com.docker.network.host_ipv6"
ENABLE_IPV4: Final = "com.docker.network.enable_ipv4"
ENABLE_IPV6: Final = "com.docker.network.enable_ipv6"
MTU: Final = "com.docker.network.driver.mtu"
IFACE_PREFIX: Final = "com.docker.network.container_iface_prefix"
PARENT: Final = "parent"
MACVLAN_MODE: Final = "macvlan_mode"
IPVLAN_MODE: Final = "ipvlan_mode"
IPVLAN_FLAG: Final = "ipvlan_flag"
ENDPOINT_IFNAME: Final = "com.docker.network.endpoint.ifname"
ENDPOINT_SYSCTLS: Final = "com.docker.network.endpoint.sysctls"

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_LINK_NAME: Final = re.compile(r"[^\s/:]+")
_MTU_MIN: Final = 68
_MTU_MAX: Final = 65535
# The docker CLI turns the options of an endpoint into lower case.
_SYSCTL: Final = re.compile(
    r"net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.(?:IFNAME|ifname)\.([a-z0-9_]+)=(\S+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """What a network's options say, with the drivers' defaults."""

    bridge: str = ""
    parent: str = ""
    mode: str = ""
    flag: str = "bridge"
    mtu: int = 0
    """0 to choose."""
    prefix: str = "eth"
    is_isolated: bool = False
    """Containers of the network do not reach each other."""
    masquerade: bool = True
    host_binding: str = ""
    inhibit_ipv4: bool = False
    sources: tuple[IPAddress, ...] = ()
    """What leaves is translated to these addresses of the host; one of each version at most."""
    trusted: tuple[str, ...] = ()
    """The host's links from which published ports are reached by the containers' own addresses."""
    mode4: GatewayMode = GatewayMode.NAT
    mode6: GatewayMode = GatewayMode.NAT

    @property
    def published_on(self) -> str:
        """Where ports are published that name no address; empty for every one."""
        # The unspecified address is what is meant without the option: IPv6 as well.
        return "" if self.host_binding == "0.0.0.0" else self.host_binding  # noqa: S104

    def gateway_mode(self, version: int) -> GatewayMode:
        """Return the gateway mode of an IP version."""
        return self.mode4 if version == 4 else self.mode6

    @property
    def no_gateway(self) -> frozenset[int]:
        """The IP versions without a gateway: the host is no part of the network."""
        return frozenset(v for v in (4, 6) if self.gateway_mode(v) is GatewayMode.ISOLATED)


def parse_options(driver: Driver, options: Mapping[str, str]) -> LinkOptions:
    """Return what the options of a network say.

    Raises:
        InvalidParameterError: One is unknown or its value is malformed; the forms are named.
    """
    parsers = _PARSERS[driver]
    unknown = sorted(set(options) - set(parsers))
    if unknown:
        accepted = ", ".join(sorted(parsers))
        raise InvalidParameterError(
            f"invalid option {unknown[0]} for a {driver} network: use one of {accepted}"
        )
    for name, value in options.items():
        parsers[name](name, value)
    mode, flag = _modes(driver, options)
    return LinkOptions(
        bridge=options.get(BRIDGE_NAME, ""),
        parent=options.get(PARENT, ""),
        mode=mode,
        flag=flag,
        mtu=int(options.get(MTU) or 0),
        prefix=options.get(IFACE_PREFIX) or "eth",
        is_isolated=options.get(ENABLE_ICC, "true") in _FALSE,
        masquerade=options.get(MASQUERADE, "true") not in _FALSE,
        host_binding=options.get(HOST_BINDING, ""),
        inhibit_ipv4=options.get(INHIBIT_IPV4, "false") in _TRUE,
        sources=tuple(
            ipaddress.ip_address(options[name]) for name in (SOURCE4, SOURCE6) if options.get(name)
        ),
        trusted=tuple(dict.fromkeys(filter(None, options.get(TRUSTED_LINKS, "").split(":")))),
        mode4=GatewayMode(options.get(GATEWAY_MODE4) or GatewayMode.NAT),
        mode6=GatewayMode(options.get(GATEWAY_MODE6) or GatewayMode.NAT),
    )


def is_enabled(
    options: Mapping[str, str], option: str, *, asked: bool | None, default: bool
) -> bool:
    """Tell whether a network has an IP version: as asked for, else as the option says."""
    return (options.get(option) or str(default)) in _TRUE if asked is None else asked


def parse_extras(options: Mapping[str, str], link_local: list[str]) -> EndpointExtras:
    """Return what is asked of one endpoint beside its addresses.

    Args:
        options: Its driver options.
        link_local: More addresses it shall have.

    Raises:
        InvalidParameterError: One is unknown or malformed; the forms are named.
    """
    known = (ENDPOINT_IFNAME, ENDPOINT_SYSCTLS)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InvalidParameterError(
            f"invalid driver option {unknown[0]} of an endpoint: use one of {', '.join(known)}"
        )
    ifname = options.get(ENDPOINT_IFNAME, "")
    if ifname:
        _check_link_name(ENDPOINT_IFNAME, ifname)
        if ifname == "lo":
            raise InvalidParameterError(f"invalid {ENDPOINT_IFNAME} lo: it is the loopback's name")
    text = options.get(ENDPOINT_SYSCTLS, "")
    return EndpointExtras(
        ifname=ifname,
        link_local=tuple(_parse_link_local(item) for item in link_local),
        sysctls=tuple(_parse_sysctl(item) for item in text.split(",") if item.strip()),
    )


def _parse_link_local(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidParameterError(f"invalid link-local IP address: {text}") from None
    if not address.is_link_local:
        raise InvalidParameterError(
            f"invalid link-local IP address: {text}: use one of 169.254.0.0/16 or fe80::/10"
        )
    return ipaddress.ip_interface(f"{address}/{16 if address.version == 4 else 64}")


def _parse_sysctl(text: str) -> tuple[str, str]:
    found = _SYSCTL.fullmatch(text.strip())
    if found is None:
        raise InvalidParameterError(
            f"invalid endpoint sysctl {text.strip()!r}: "
            "use e.g. net.ipv4.conf.IFNAME.log_martians=1, with IFNAME as it stands"
        )
    family, group, name, value = found.groups()
    return f"{family}/{group}/IFNAME/{name}", value


def _modes(driver: Driver, options: Mapping[str, str]) -> tuple[str, str]:
    if driver is Driver.MACVLAN:
        return options.get(MACVLAN_MODE) or "bridge", "bridge"
    if driver is Driver.IPVLAN:
        return options.get(IPVLAN_MODE) or "l2", options.get(IPVLAN_FLAG) or "bridge"
    return "", "bridge"


def _check_flag(name: str, value: str) -> None:
    if value not in _TRUE | _FALSE:
        raise InvalidParameterError(f"failed to parse {name} value: {value!r}: use true or false")


def _check_mtu(name: str, value: str) -> None:
    if not value.isascii() or not value.isdigit() or not _MTU_MIN <= int(value) <= _MTU_MAX:
        raise InvalidParameterError(
            f"failed to parse {name} value: {value!r}: use a number from {_MTU_MIN} to {_MTU_MAX}"
        )


def _check_link_name(name: str, value: str) -> None:
    is_name = _LINK_NAME.fullmatch(value) and value not in {".", ".."}
    if not is_name or len(value.encode()) >= IFNAMSIZ:
        raise InvalidParameterError(
            f"invalid {name} {value!r}: a link's name has at most {IFNAMSIZ - 1} characters, "
            "without '/', ':' and blanks"
        )


def _check_prefix(name: str, value: str) -> None:
    _check_link_name(name, value + "00")


def _address_of(version: int) -> Callable[[str, str], None]:
    def check(name: str, value: str) -> None:
        try:
            fits = not value or ipaddress.ip_address(value).version == version
        except ValueError:
            fits = False
        if not fits:
            raise InvalidParameterError(
                f"failed to parse {name} value: {value!r}: use an IPv{version} address of the host"
            )

    return check


def _check_link_names(name: str, value: str) -> None:
    for item in filter(None, value.split(":")):
        _check_link_name(name, item)


def _check_gateway_mode(name: str, value: str) -> None:
    if value and value not in set(GatewayMode):
        raise InvalidParameterError(
            f"unknown {name} value: {value!r}: use one of {', '.join(GatewayMode)}"
        )


def _one_of(kind: str, values: Mapping[str, int], default: str) -> Callable[[str, str], None]:
    def check(_name: str, value: str) -> None:
        if value and value not in values:
            raise InvalidParameterError(
                f"requested {kind} '{value}' is not valid, '{default}' is the default: "
                f"use one of {', '.join(values)}"
            )

    return check


_COMMON: Final[dict[str, Callable[[str, str], None]]] = {
    MTU: _check_mtu,
    IFACE_PREFIX: _check_prefix,
    ENABLE_IPV4: _check_flag,
    ENABLE_IPV6: _check_flag,
}
_PARSERS: Final[Mapping[Driver, Mapping[str, Callable[[str, str], None]]]] = {
    Driver.BRIDGE: {
        **_COMMON,
        BRIDGE_NAME: _check_link_name,
        ENABLE_ICC: _check_flag,
        MASQUERADE: _check_flag,
        INHIBIT_IPV4: _check_flag,
        HOST_BINDING: _address_of(4),
        SOURCE4: _address_of(4),
        SOURCE6: _address_of(6),
        TRUSTED_LINKS: _check_link_names,
        GATEWAY_MODE4: _check_gateway_mode,
        GATEWAY_MODE6: _check_gateway_mode,
        "com.docker.network.bridge.default_bridge": _check_flag,
    },
    Driver.MACVLAN: {
        **_COMMON,
        PARENT: _check_link_name,
        MACVLAN_MODE: _one_of("macvlan mode", MACVLAN_MODES, "bridge"),
    },
    Driver.IPVLAN: {
        **_COMMON,
        PARENT: _check_link_name,
        IPVLAN_MODE: _one_of("ipvlan mode", IPVLAN_MODES, "l2"),
        IPVLAN_FLAG: _one_of("ipvlan flag", IPVLAN_FLAGS, "bridge"),
    },
    Driver.HOST: {},
    Driver.NULL: {},
}
