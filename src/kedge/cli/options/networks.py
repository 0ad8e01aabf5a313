"""``--network`` and the flags that belong to its endpoint. Pure.

Source of the rules and texts: docker/cli ``opts/network.go`` and ``container/opts.go``.
"""

from __future__ import annotations

from kedge.cli.options.fields import split_fields
from kedge.cli.options.values import check_mac, parse_ip, parse_link
from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.cli.flags import Options
    from kedge.lib.jsontypes import JsonObject


_LONG: Final = r"[\w-]+=.+(,[\w-]+=.+)*"
_NOT_USER_DEFINED: Final = frozenset({"default", "bridge", "host", "none"})
_SINGLE: Final = {
    "ip": "IPv4Address",
    "ip6": "IPv6Address",
    "mac-address": "MacAddress",
}
_LISTS: Final = {"alias": "Aliases", "link-local-ip": "LinkLocalIPs"}


def parse_network(text: str) -> JsonObject:
    """Return one ``--network`` value: ``Target`` and what was said about its endpoint.

    Raises:
        InvalidParameterError: An unknown field, or no name.
    """
    if not _is_long(text):
        return {"Target": text}
    attachment: JsonObject = {"Target": "", "Aliases": []}
    for field in split_fields(text):
        key, equals, content = field.lower().partition("=")
        if not equals:
            raise InvalidParameterError(f"invalid field {field}")
        _set(attachment, key.strip(), content.strip(), field)
    if not attachment["Target"]:
        raise InvalidParameterError("network name/id is not specified")
    return attachment


def _is_long(text: str) -> bool:
    if "=" not in text:
        return False
    import re  # noqa: PLC0415 - few command lines need it

    return re.fullmatch(_LONG, text.replace('"', "")) is not None


def _set(attachment: JsonObject, key: str, content: str, field: str) -> None:
    if key == "name":
        attachment["Target"] = content
    elif key in _SINGLE:
        attachment[_SINGLE[key]] = content
    elif key in _LISTS:
        found = attachment.setdefault(_LISTS[key], [])
        if isinstance(found, list):
            found.append(content)
    elif key == "driver-opt":
        name, equals, option = content.partition("=")
        if not equals:
            raise InvalidParameterError(f"invalid value for driver-opt: {content}: want key=value")
        options = attachment.setdefault("DriverOpts", {})
        if isinstance(options, dict):
            options[name.strip()] = option.strip()
    elif key == "gw-priority":
        try:
            attachment["GwPriority"] = int(content)
        except ValueError:
            raise InvalidParameterError(
                f"invalid gw-priority ({content}): invalid syntax"
            ) from None
    else:
        raise InvalidParameterError(f"invalid field key {key} in {field}: invalid field")


def check_network(text: str) -> None:
    """Refuse a bad ``--network`` value.

    Raises:
        InvalidParameterError: It is malformed.
    """
    parse_network(text)


def network_mode(values: Sequence[str]) -> str:
    """Return the mode in ``HostConfig``: the first network, or ``default``."""
    return str(parse_network(values[0])["Target"]) if values else "default"


def endpoints(options: Options) -> JsonObject:
    """Return ``EndpointsConfig`` of a create request.

    Raises:
        InvalidParameterError: Flags contradict each other.
    """
    attachments = [parse_network(text) for text in options.texts("network")]
    found: JsonObject = {}
    default: list[JsonObject] = [{"Target": "default"}]
    for position, attachment in enumerate(attachments or default):
        target = str(attachment["Target"])
        if position == 0:
            _apply_flags(attachment, options)
        endpoint = _endpoint(attachment)
        if target in found:
            raise InvalidParameterError(f'network "{target}" is specified multiple times')
        if endpoint or len(attachments) > 1:
            found[target] = endpoint
    kinds = {is_user_defined(str(attachment["Target"])) for attachment in attachments}
    if len(kinds) > 1:
        raise InvalidParameterError(
            "conflicting options: cannot attach both user-defined and "
            "non-user-defined network-modes"
        )
    return found


def is_user_defined(name: str) -> bool:
    """Whether a network is none of the engine's own."""
    return name not in _NOT_USER_DEFINED and not name.startswith("container:")


def _apply_flags(attachment: JsonObject, options: Options) -> None:
    target = str(attachment["Target"])
    for flag, field, what in (
        ("network-alias", "Aliases", "alias"),
        ("ip", "IPv4Address", "IPv4 address"),
        ("ip6", "IPv6Address", "IPv6 address"),
        ("link-local-ip", "LinkLocalIPs", "link-local IP addresses"),
        ("mac-address", "MacAddress", "MAC address"),
    ):
        if not options.given(flag):
            continue
        if attachment.get(field):
            raise InvalidParameterError(
                f"conflicting options: cannot specify both --{flag} and per-network {what}"
            )
        is_list = field in {"Aliases", "LinkLocalIPs"}
        attachment[field] = [*options.texts(flag)] if is_list else options.text(flag)
    if options.given("link") and is_user_defined(target):
        attachment["Links"] = [*options.texts("link")]
        for link in options.texts("link"):
            parse_link(link)


def _endpoint(attachment: JsonObject) -> JsonObject:
    if attachment.get("MacAddress"):
        check_mac(str(attachment["MacAddress"]))
    addresses: JsonObject = {}
    for field in ("IPv4Address", "IPv6Address"):
        if attachment.get(field):
            addresses[field] = parse_ip(str(attachment[field]))
    if attachment.get("LinkLocalIPs"):
        addresses["LinkLocalIPs"] = attachment["LinkLocalIPs"]
    endpoint = {
        name: attachment[name]
        for name in ("Aliases", "DriverOpts", "GwPriority", "Links", "MacAddress")
        if attachment.get(name)
    }
    if addresses:
        endpoint["IPAMConfig"] = addresses
    return endpoint
