"""``--gpus``, and block I/O limits of single devices. Pure.

Source of the grammar and texts: docker/cli ``opts/gpus.go``, ``opts/throttledevice.go`` and
``opts/weightdevice.go``.
"""

from collections.abc import Callable

from kedge.cli.options.fields import split_fields
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject

_WEIGHT_MIN, _WEIGHT_MAX = 10, 1000


def parse_gpus(text: str) -> JsonObject:
    """Return the device request of one ``--gpus`` value: ``all``, a number, or fields.

    Raises:
        InvalidParameterError: An unknown or repeated field, or a count that is no number.
    """
    request: JsonObject = {"Options": {}, "Capabilities": [["gpu"]]}
    seen: set[str] = set()
    for field in split_fields(text):
        key, equals, content = field.partition("=")
        if not equals:
            key, content = "count", key
        if key in seen:
            raise InvalidParameterError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        match key:
            case "driver":
                request["Driver"] = content
            case "count":
                request["Count"] = _count(content)
            case "device":
                request["DeviceIDs"] = [*content.split(",")]
            case "capabilities":
                request["Capabilities"] = [[*content.split(","), "gpu"]]
            case "options":
                pairs: list[tuple[str, str, str]] = [
                    p.partition("=") for p in split_fields(content)
                ]
                request["Options"] = {name: value for name, _, value in pairs}
            case _:
                raise InvalidParameterError(f"unexpected key '{key}' in '{field}'")
    if not seen & {"count", "device"}:
        request["Count"] = 1
    return request


def _count(text: str) -> int:
    if text == "all":
        return -1
    try:
        return int(text)
    except ValueError:
        raise InvalidParameterError("count must be an integer, or all") from None


def parse_weight_device(text: str) -> JsonObject:
    """Return the weight of one device: ``/dev/sda:500``.

    Raises:
        InvalidParameterError: It is malformed, or the weight is not 0 or 10 to 1000.
    """
    path, weight = _split(text)
    number = int(weight) if weight.isascii() and weight.isdigit() else -1
    if number and not _WEIGHT_MIN <= number <= _WEIGHT_MAX:
        raise InvalidParameterError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": number}


def parse_bytes_rate(text: str) -> JsonObject:
    """Return the limit of one device in bytes a second: ``/dev/sda:1mb``.

    Raises:
        InvalidParameterError: It is malformed.
    """
    from kedge.lib.units import parse_ram  # noqa: PLC0415 - rarely needed

    path, rate = _split(text)
    try:
        return {"Path": path, "Rate": parse_ram(rate)}
    except InvalidParameterError:
        raise InvalidParameterError(
            f"invalid rate for device: {text}. The correct format is "
            "<device-path>:<number>[<unit>]. Number must be a positive integer. "
            "Unit is optional and can be kb, mb, or gb"
        ) from None


def parse_operations_rate(text: str) -> JsonObject:
    """Return the limit of one device in operations a second: ``/dev/sda:100``.

    Raises:
        InvalidParameterError: It is malformed.
    """
    path, rate = _split(text)
    if not (rate.isascii() and rate.isdigit()):
        raise InvalidParameterError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(rate)}


def _split(text: str) -> tuple[str, str]:
    path, colon, number = text.partition(":")
    if not colon or not path:
        raise InvalidParameterError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise InvalidParameterError(f"bad format for device path: {text}")
    return path, number


PARSERS: dict[str, tuple[str, Callable[[str], JsonObject]]] = {
    "blkio-weight-device": ("BlkioWeightDevice", parse_weight_device),
    "device-read-bps": ("BlkioDeviceReadBps", parse_bytes_rate),
    "device-read-iops": ("BlkioDeviceReadIOps", parse_operations_rate),
    "device-write-bps": ("BlkioDeviceWriteBps", parse_bytes_rate),
    "device-write-iops": ("BlkioDeviceWriteIOps", parse_operations_rate),
}
"""Flags of block I/O to their field and parser."""


def parse_all(name: str, texts: list[str]) -> tuple[str, list[Json]]:
    """Return the field and the entries of a block I/O flag."""
    field, parse = PARSERS[name]
    return field, [parse(text) for text in texts]
