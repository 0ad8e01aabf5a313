"""Moving interfaces of the host into a container's network namespace (``linux.netDevices``).

The parent does it, with the host's rights, when the container's process has its namespace. The
kernel takes an interface down on its way and with that its addresses, so those that last are read
before and given again after. What has been moved is moved back if the container fails to come
about: with its namespace a virtual interface would be destroyed.
"""

from __future__ import annotations

import errno
import os

from kedge.errdefs import ConflictError, NotFoundError
from kedge.lib.blocks import suppress
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import namespaces as ns
from kedge.runtime.failures import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.linux.netlink import NetlinkSocket
    from kedge.linux.rtnetlink import Link
    from kedge.linux.rtnetlink_addresses import IPInterface
    from kedge.oci.runtime_spec.types import NetDevice


class _Moved(NamedTuple):
    link: Link
    """As it was on the host."""
    addresses: tuple[IPInterface, ...]
    ifindex: int
    """What it has in the container."""


class DeviceMove:
    """The interfaces that were moved into one namespace; `undo` brings them home."""

    def __init__(self, netns_fd: int) -> None:
        """Take over ``netns_fd``, the namespace to move to."""
        self._netns_fd = netns_fd
        self._moved: list[_Moved] = []

    def close(self) -> None:
        """Give up the namespace; what was moved stays."""
        os.close(self._netns_fd)

    def move(self, devices: Mapping[str, NetDevice]) -> None:
        """Move ``devices`` and bring them up.

        Raises:
            NotFoundError: The host has no such interface.
            ConflictError: The name is taken in the container.
            KedgeError: The kernel does not let it go, as it keeps the loopback.
        """
        if os.path.samestat(os.fstat(self._netns_fd), os.stat("/proc/thread-self/ns/net")):
            raise ConflictError("linux.netDevices needs a network namespace other than the host's")
        with _open_here() as here, _open_there(self._netns_fd) as there:
            for name, device in devices.items():
                self._move_one(here, there, name, device.name or name)

    def _move_one(self, here: NetlinkSocket, there: NetlinkSocket, name: str, wanted: str) -> None:
        from kedge.linux import rtnetlink as rt  # noqa: PLC0415 - hardly any container has one
        from kedge.linux import rtnetlink_addresses as rta  # noqa: PLC0415

        try:
            link = rt.parse_link(here.query(rt.get_link(name))[0])
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise NotFoundError(f"linux.netDevices: no such interface: {name}") from error
            raise
        addresses = _lasting_addresses(here, link.ifindex)
        before = {each.name for each in _links(there)}
        if wanted in before:
            raise ConflictError(f"linux.netDevices: the container has an interface {wanted}")
        try:
            here.batch([rt.move_link(link.ifindex, self._netns_fd, rename=wanted)])
        except OSError as error:
            raise refusal(f"cannot move the interface {name} to the container", error) from error
        arrived = next(each for each in _links(there) if each.name not in before)
        self._moved.append(_Moved(link, addresses, arrived.ifindex))
        requests = [rt.set_link(arrived.ifindex, up=True)]
        requests += [rta.new_address(arrived.ifindex, each) for each in addresses]
        try:
            there.batch(requests)
        except OSError as error:
            raise refusal(f"cannot set up {wanted} in the container", error) from error

    def undo(self) -> None:
        """Move every interface back, with its name and addresses, as far as the kernel lets us."""
        from kedge.linux import rtnetlink as rt  # noqa: PLC0415
        from kedge.linux import rtnetlink_addresses as rta  # noqa: PLC0415

        if not self._moved:
            return
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with _open_here() as here, _open_there(self._netns_fd) as there:
                for link, addresses, ifindex in reversed(self._moved):
                    with suppress(OSError):
                        there.batch([rt.move_link(ifindex, home, rename=link.name)])
                        back = rt.parse_link(here.query(rt.get_link(link.name))[0]).ifindex
                        here.batch(
                            [rt.set_link(back, up=link.is_up)]
                            + [rta.new_address(back, each) for each in addresses]
                        )
        finally:
            os.close(home)
        self._moved.clear()


def _lasting_addresses(here: NetlinkSocket, ifindex: int) -> tuple[IPInterface, ...]:
    from kedge.linux import rtnetlink_addresses as rta  # noqa: PLC0415

    found = (rta.parse_lasting_address(each) for each in here.query(rta.dump_addresses()))
    return tuple(each.interface for each in found if each is not None and each.ifindex == ifindex)


def _links(sock: NetlinkSocket) -> list[Link]:
    from kedge.linux import rtnetlink as rt  # noqa: PLC0415

    return [rt.parse_link(each) for each in sock.query(rt.dump_links())]


def _open_here() -> NetlinkSocket:
    from kedge.linux.netlink import NETLINK_ROUTE, NetlinkSocket  # noqa: PLC0415

    return NetlinkSocket(NETLINK_ROUTE)


def _open_there(netns_fd: int) -> NetlinkSocket:
    """Open a socket in the namespace: this thread visits it for a moment, a socket stays there."""
    ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        ns.setns(netns_fd, ns.CLONE_NEWNET)
        try:
            return _open_here()
        finally:
            ns.setns(ours, ns.CLONE_NEWNET)
    except OSError as error:
        raise refusal("cannot enter the container's network namespace", error) from error
    finally:
        os.close(ours)
