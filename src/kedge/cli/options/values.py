"""Single values: addresses, search domains, capabilities, restart policies, devices, hosts. Pure.

Source of the grammar and texts: docker/cli ``opts`` and ``cli/command/container/opts.go``.
"""

from __future__ import annotations

import _socket

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

    from kedge.lib.jsontypes import JsonObject


# Patterns are text: most commands need none, so none is compiled on import.
_DOMAIN: Final = (
    r"(:?(:?[a-zA-Z0-9]|(:?[a-zA-Z0-9][a-zA-Z0-9\-]*[a-zA-Z0-9]))"
    r"(:?\.(:?[a-zA-Z0-9]|(:?[a-zA-Z0-9][a-zA-Z0-9\-]*[a-zA-Z0-9])))*)\.?\s*"
)
_STREAMS: Final = frozenset({"stdin", "stdout", "stderr"})


def is_ip(text: str) -> bool:
    """Whether ``text`` is an IPv4 or IPv6 address."""
    return bool(try_parse_ip(text))


def try_parse_ip(text: str) -> str | None:
    """Return an address in its shortest form."""
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            return _socket.inet_ntop(family, _socket.inet_pton(family, text))
        except (OSError, ValueError):
            continue
    return None


def parse_ip(text: str) -> str:
    """Return an address in its shortest form.

    Raises:
        InvalidParameterError: It is none.
    """
    found = try_parse_ip(text.strip())
    if found is None:
        raise InvalidParameterError(f"IP address is not correctly formatted: {text}")
    return found


def check_dns_search(text: str) -> None:
    """Refuse what is no domain; a single dot empties the list.

    Raises:
        InvalidParameterError: It is none.
    """
    domain = text.strip()
    if domain == ".":
        return
    import re  # noqa: PLC0415 - few command lines need it

    if len(domain) > 255 or not re.search("[a-zA-Z]", domain) or not re.fullmatch(_DOMAIN, domain):
        raise InvalidParameterError(f"{text} is not a valid domain")


def parse_capability(text: str) -> str:
    """Return a capability with its prefix, or ``ALL``."""
    name = text.strip().upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def effective_capabilities(add: Iterable[str], drop: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return what to add and drop: sorted, ``ALL`` alone, and adding wins over dropping."""
    adds = {parse_capability(name) for name in add}
    drops = {parse_capability(name) for name in drop}
    if "ALL" in drops:
        drops = {"ALL"}
    if "ALL" in adds:
        adds = {"ALL"}
    return sorted(adds), sorted(drops - adds)


def parse_restart(text: str) -> JsonObject:
    """Return a restart policy.

    Raises:
        InvalidParameterError: It is malformed.
    """
    name, colon, count = text.partition(":")
    if colon and not name:
        raise InvalidParameterError(
            "invalid restart policy format: no policy provided before colon"
        )
    try:
        return {"Name": name, "MaximumRetryCount": int(count) if colon else 0}
    except ValueError:
        raise InvalidParameterError(
            "invalid restart policy format: maximum retry count must be an integer"
        ) from None


def parse_device(text: str) -> JsonObject:
    """Return a device of the host and where the container sees it.

    Raises:
        InvalidParameterError: Too many parts.
    """
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise InvalidParameterError(f"invalid device specification: {text}")
    target, mode = parts[0], "rwm"
    if len(parts) == 3:
        target, mode = parts[1], parts[2]
    elif len(parts) == 2 and _is_device_mode(parts[1]):
        mode = parts[1]
    elif len(parts) == 2:
        target = parts[1]
    return {"PathOnHost": parts[0], "PathInContainer": target, "CgroupPermissions": mode}


def check_device(text: str) -> None:
    """Refuse a ``--device`` value that is neither a path nor a CDI name.

    Raises:
        InvalidParameterError: It is malformed.
    """
    if is_cdi_device(text):
        return
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise InvalidParameterError(f"bad format for path: {text}")
    if len(parts) == 1:
        target, mode = parts[0], ""
    elif len(parts) == 2:
        target, mode = parts[1], ""
        if _is_device_mode(target):
            target, mode = parts[0], target
    else:
        target, mode = parts[1], parts[2]
    if not target.startswith("/"):
        raise InvalidParameterError(f"{target} is not an absolute path")
    if len(parts) == 3 and not _is_device_mode(mode):
        raise InvalidParameterError(f"bad mode specified: {mode}")


def is_cdi_device(text: str) -> bool:
    """Whether ``text`` is a qualified CDI name such as ``vendor.com/class=name``."""
    import re  # noqa: PLC0415 - few command lines need it

    return not text.startswith("/") and re.fullmatch(r"[\w.-]+/[\w.-]+=[\w.:-]+", text) is not None


def _is_device_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def parse_extra_host(text: str) -> str:
    """Return an ``--add-host`` value as ``name:address``.

    Raises:
        InvalidParameterError: No name or no address.
    """
    equals = text.find("=")
    position = equals if equals >= 0 else text.find(":")
    name, address = (text[:position], text[position + 1 :]) if position >= 0 else ("", "")
    if not name.strip(":"):
        raise InvalidParameterError(f'bad format for add-host: "{text}"')
    if address == "host-gateway":
        return f"{name}:{address}"
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if not is_ip(bare):
        raise InvalidParameterError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{bare}"


def parse_attach(text: str) -> str:
    """Return the name of a stream.

    Raises:
        InvalidParameterError: It is none.
    """
    name = text.lower()
    if name not in _STREAMS:
        raise InvalidParameterError("valid streams are STDIN, STDOUT and STDERR")
    return name


def parse_cpus(text: str) -> int:
    """Return a number of CPUs in billionths.

    Raises:
        InvalidParameterError: It is no positive number with at most nine decimals.
    """
    import re  # noqa: PLC0415 - few command lines need it

    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text):
        raise InvalidParameterError(f"failed to parse {text} as a rational number")
    whole, _, fraction = text.partition(".")
    if len(fraction.rstrip("0")) > 9:
        raise InvalidParameterError("value is too precise")
    return int(whole or "0") * 10**9 + int(fraction[:9].ljust(9, "0"))


def check_mac(text: str) -> None:
    """Refuse what is no hardware address.

    Raises:
        InvalidParameterError: It is none.
    """
    import re  # noqa: PLC0415 - few command lines need it

    if not re.fullmatch(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}", text.strip()):
        raise InvalidParameterError(f"{text} is not a valid mac address")


def parse_memory_swap(text: str) -> int:
    """Return the bytes of a size; -1 is no limit.

    Raises:
        InvalidParameterError: No size.
    """
    from kedge.lib.units import parse_ram  # noqa: PLC0415 - rarely needed

    return -1 if text == "-1" else parse_ram(text)


def parse_link(text: str) -> tuple[str, str]:
    """Return name and alias of a ``--link`` value.

    Raises:
        InvalidParameterError: It is malformed.
    """
    if not text:
        raise InvalidParameterError("empty string specified for links")
    parts = text.split(":")
    if len(parts) > 2:
        raise InvalidParameterError(f"bad format for links: {text}")
    return parts[0], parts[-1]


def parse_size(text: str) -> int:
    """Return the bytes of a size, where ``k`` is 1024.

    Raises:
        InvalidParameterError: It is none.
    """
    from kedge.lib.units import parse_ram  # noqa: PLC0415 - rarely needed

    return parse_ram(text)


def parse_health_duration(text: str) -> int:
    """Return the nanoseconds of a duration that is not negative.

    Raises:
        InvalidParameterError: It is none.
    """
    from kedge.lib.durations import parse_positive_duration  # noqa: PLC0415 - rarely needed

    return parse_positive_duration(text)


def check_device_limit(name: str) -> Callable[[str], object]:
    """Return the check of a block I/O flag; its parser is loaded when there is a value."""

    def check(text: str) -> object:
        from kedge.cli.options.devices import PARSERS  # noqa: PLC0415 - rarely needed

        return PARSERS[name][1](text)

    return check


def check_gpus(text: str) -> object:
    """Refuse a ``--gpus`` value that cannot be read.

    Raises:
        InvalidParameterError: It cannot.
    """
    from kedge.cli.options.devices import parse_gpus  # noqa: PLC0415 - rarely needed

    return parse_gpus(text)
