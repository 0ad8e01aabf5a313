"""The macvlan and ipvlan drivers: links on top of one of the host's, made inside the container.

There is no bridge and no rule: what the container sends is on the parent's wire. A parent
``eth0.10`` that is not there becomes a VLAN sub-interface of ``eth0``, and a network without a
parent gets a dummy link; both are removed with the network. A link goes with its namespace, so
only a container that runs has to be rid of one.
"""

import contextlib
import errno
import os
import time
from collections.abc import Sequence
from typing import Final

from kedge.errdefs import ForbiddenError, InvalidParameterError, SystemFailureError
from kedge.lib.ids import short_id
from kedge.linux import rtnetlink as rt
from kedge.linux.netlink import NetlinkError, Request
from kedge.network.bridge import LiveBridge
from kedge.network.kernel import HostKernel
from kedge.network.model import Driver, Endpoint, Network
from kedge.network.options import parse_options

DRIVERS: Final = frozenset({Driver.MACVLAN, Driver.IPVLAN})
_VLAN_MAX: Final = 4094
_LEAVING_TIMEOUT_S: Final = 2.0
_LEAVING_POLL_S: Final = 0.01


def dummy_name(network_id: str) -> str:
    """Return the link of a network that has no parent, as Docker names it."""
    return f"dm-{network_id[:12]}"


def parse_vlan(name: str) -> tuple[str, int]:
    """Return parent and VLAN of a sub-interface's name such as ``eth0.10``.

    Raises:
        InvalidParameterError: Not such a name.
    """
    base, dot, number = name.rpartition(".")
    if not base or not dot or not (number.isascii() and number.isdigit()):
        raise InvalidParameterError(
            f"invalid parent {name}: the host has no such link; "
            "name one of its links, or a sub-interface to make, such as eth0.10"
        )
    if not 1 <= int(number) <= _VLAN_MAX:
        raise InvalidParameterError(
            f"vlan id must be between 1-{_VLAN_MAX}, received: {int(number)}"
        )
    return base, int(number)


def check_companions(network: Network, others: Sequence[Network]) -> None:
    """Raise where the kernel will not have both networks on one parent.

    Raises:
        ForbiddenError: One of them wants the parent for itself.
    """
    for other in others:
        if other.parent != network.parent or other.id == network.id:
            continue
        modes = {parse_options(item.driver, item.options).mode for item in (network, other)}
        if other.driver is not network.driver or "passthru" in modes:
            raise ForbiddenError(
                f"network {other.name} is already using parent interface {network.parent} "
                f"(driver {other.driver}): a parent carries one driver, and mode passthru one "
                "network"
            )


class ParentDriver:
    """Makes parents, and links on them."""

    def __init__(self, kernel: HostKernel) -> None:
        """Work on ``kernel``."""
        self._kernel = kernel

    def choose(self, parent: str, network_id: str) -> tuple[str, bool]:
        """Return a new network's parent and whether the engine has to make it.

        Raises:
            InvalidParameterError: There is no such link and no way to make it.
        """
        if not parent:
            return dummy_name(network_id), True
        link = self._kernel.try_link(parent)
        if link is None:
            base, _number = parse_vlan(parent)
            if self._kernel.try_link(base) is None:
                raise InvalidParameterError(
                    f"invalid parent {parent}: the host has no link {base} to make it on"
                )
            return parent, True
        if link.ifindex == rt.LOOPBACK_INDEX:
            raise InvalidParameterError("loopback interface is not a valid parent link")
        return parent, False

    def ensure(self, network: Network) -> LiveBridge:
        """Make the parent exist and be up.

        Raises:
            SystemFailureError: It is gone, or the kernel cannot make it.
        """
        wanted_mtu = parse_options(network.driver, network.options).mtu
        link = self._kernel.try_link(network.parent)
        try:
            if link is None:
                self._kernel.batch([self._new_parent(network)])
                link = self._kernel.try_link(network.parent)
            if link is None:
                raise SystemFailureError(f"link {network.parent} vanished while it was made")
            if not link.is_up:
                self._kernel.batch([rt.set_link(link.ifindex, up=True)])
        except NetlinkError as error:
            action = f"set up parent {network.parent} of network {network.name}"
            raise _explain(error, action) from error
        return LiveBridge(ifindex=link.ifindex, mtu=wanted_mtu)

    def _new_parent(self, network: Network) -> Request:
        if not network.owns_link:
            raise SystemFailureError(
                f"parent {network.parent} of network {network.name} is gone from the host"
            )
        if network.parent == dummy_name(network.id):
            return rt.new_dummy(network.parent)
        base, number = parse_vlan(network.parent)
        below = self._kernel.try_link(base)
        if below is None:
            raise SystemFailureError(
                f"parent {network.parent} of network {network.name} cannot be made: "
                f"{base} is gone from the host"
            )
        return rt.new_vlan(rt.Child(network.parent, below.ifindex), vlan_id=number)

    def connect(
        self, endpoint: Endpoint, network: Network, live: LiveBridge, *, netns_fd: int, ifname: str
    ) -> None:
        """Make the link in the container's namespace.

        Raises:
            NetlinkError: The kernel refuses; nothing is left behind.
        """
        options = parse_options(network.driver, network.options)
        child = rt.Child(ifname, live.ifindex, netns_fd, endpoint.mac, live.mtu)
        if network.driver is Driver.MACVLAN:
            request = rt.new_macvlan(child, mode=options.mode)
        else:
            request = rt.new_ipvlan(child, mode=options.mode, flag=options.flag)
        try:
            self._kernel.batch([request])
        except NetlinkError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise _explain(
                    error,
                    f"connect container {short_id(endpoint.container_id)} "
                    f"to network {network.name}",
                ) from error
            raise

    def bring_up(self, rtnl_fd: int, ifname: str) -> None:
        """Bring a container's link up, waiting for one with the same address to be gone.

        The kernel takes a namespace apart some time after its last process, and refuses two
        macvlan links of one address on a parent.

        Raises:
            SystemFailureError: The kernel refuses for another reason, or for too long.
        """
        deadline = time.monotonic() + _LEAVING_TIMEOUT_S
        while not self._is_brought_up(rtnl_fd, ifname, is_last=time.monotonic() > deadline):
            time.sleep(_LEAVING_POLL_S)

    def _is_brought_up(self, rtnl_fd: int, ifname: str, *, is_last: bool) -> bool:
        try:
            ifindex = self._kernel.link_in(rtnl_fd, ifname).ifindex
            self._kernel.batch_in(rtnl_fd, [rt.set_link(ifindex, up=True)])
        except NetlinkError as error:
            if error.errno in {errno.EBUSY, errno.EADDRINUSE} and not is_last:
                return False
            raise _explain(error, f"bring up {ifname} in the container") from error
        return True

    def remove_inside(self, rtnl_fd: int, ifindex: int) -> None:
        """Remove a link of a container that goes on running; one that is gone is fine."""
        with contextlib.suppress(NetlinkError):
            self._kernel.batch_in(rtnl_fd, [rt.delete_link(ifindex)])


def random_mac() -> str:
    """Return a locally administered address.

    Not one made of the IP address: two hosts on one wire may use the same private subnet.
    """
    first = os.urandom(1)[0] & 0xFC | 0x02
    return bytes([first, *os.urandom(5)]).hex(":")


def _explain(error: NetlinkError, action: str) -> SystemFailureError:
    hint = ""
    if error.errno == errno.EOPNOTSUPP:
        kinds = ("dummy", "ipvlan", "macvlan", "vlan")
        kind = next((item for item in kinds if f" {item} " in error.what), "")
        hint = f"; this kernel has no {kind or 'such'} driver"
        if kind == "dummy":
            hint += ", so the network needs a link of the host: -o parent=eth0"
    elif error.errno in {errno.EPERM, errno.EACCES}:
        hint = "; the engine needs CAP_NET_ADMIN"
    return SystemFailureError(f"cannot {action}: {error.strerror}{hint}")
