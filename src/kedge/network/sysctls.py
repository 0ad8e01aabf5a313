"""The few kernel switches a bridge network needs, under ``/proc/sys/net``.

Only switched on, never off: another engine or program may rely on them by then. Each is read
first, so that nothing is written where the host already has it (also where ``/proc/sys`` is
read-only). The switches are those of the calling thread's network namespace.
"""

import os
import threading
from collections.abc import Collection, Sequence
from typing import Final

from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.linux.namespaces import CLONE_NEWNET, setns

_ROOT: Final = "/proc/sys/net"


def try_read(name: str, *, root: str = _ROOT) -> str | None:
    """Return a switch's value; None where the kernel does not have it.

    Args:
        name: Path below ``/proc/sys/net``, such as ``ipv4/ip_forward``.
        root: Where the tree is.
    """
    try:
        with open(f"{root}/{name}", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return None


def ensure(name: str, value: str, *, root: str = _ROOT) -> bool:
    """Make a switch have ``value``; tell whether it had to be changed.

    Raises:
        SystemFailureError: It cannot be written; the message says how to do it by hand.
    """
    if try_read(name, root=root) == value:
        return False
    try:
        with open(f"{root}/{name}", "w", encoding="ascii") as stream:
            stream.write(value)
    except OSError as error:
        dotted = "net." + name.replace("/", ".")
        raise SystemFailureError(
            f"cannot set {dotted} to {value}: {os.strerror(error.errno or 0).lower()}; "
            f"run: sysctl -w {dotted}={value}"
        ) from None
    return True


def has_ipv6(*, root: str = _ROOT) -> bool:
    """Tell whether new interfaces get IPv6 here."""
    return all(
        try_read(f"ipv6/conf/{scope}/disable_ipv6", root=root) == "0"
        for scope in ("all", "default")
    )


def ensure_forwarding4(*, root: str = _ROOT) -> list[str]:
    """Let the host forward IPv4; return what was changed."""
    return ["ipv4/ip_forward"] if ensure("ipv4/ip_forward", "1", root=root) else []


def ensure_forwarding6(advertised: Collection[str], *, root: str = _ROOT) -> list[str]:
    """Let the host forward IPv6 without losing its own routes; return what was changed.

    A host that forwards no longer listens to router advertisements unless ``accept_ra`` is 2, and
    loses the default route it learned from one.

    Args:
        advertised: Interfaces with a route from a router advertisement.
        root: Where the tree is.
    """
    changed: list[str] = []
    if try_read("ipv6/conf/all/forwarding", root=root) == "1":
        return changed
    for interface in sorted(advertised):
        name = f"ipv6/conf/{interface}/accept_ra"
        if try_read(name, root=root) == "1" and ensure(name, "2", root=root):
            changed.append(name)
    ensure("ipv6/conf/all/forwarding", "1", root=root)
    return [*changed, "ipv6/conf/all/forwarding"]


def set_inside(netns_fd: int, values: Sequence[tuple[str, str]]) -> None:
    """Set switches of another network namespace, in a thread that enters it and ends there.

    Raises:
        InvalidParameterError: The kernel has no such switch, or refuses the value.
    """
    failures: list[OSError] = []

    def enter_and_write() -> None:
        try:
            setns(netns_fd, CLONE_NEWNET)
            for name, value in values:
                with open(f"{_ROOT}/{name}", "w", encoding="ascii") as stream:
                    stream.write(value)
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=enter_and_write, name="kedge-network-sysctl")
    thread.start()
    thread.join()
    for error in failures:
        reason = os.strerror(error.errno or 0).lower()
        raise InvalidParameterError(f"cannot set an endpoint's sysctl: {reason}: {error.filename}")
