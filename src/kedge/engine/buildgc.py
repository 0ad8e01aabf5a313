"""``builder.gc`` of ``daemon.json``, in dockerd's words: how much build cache is kept. Pure.

Without one: never more than three quarters of the disk or 100 GB, a fifth of the disk stays free,
and a tenth of the disk, 10 GB at most, stays cache whatever happens.
"""

from typing import Final

from kedge.builder.evictions import Amount, Policy, parse_amount, parse_fits
from kedge.errdefs import InvalidParameterError
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.lib.filters import Filters
from kedge.lib.jsontypes import Json, JsonObject

_GIB: Final = 1 << 30
DEFAULT_POLICY: Final = Policy(
    reserved=Amount(percent=10, at_most=10 * _GIB),
    max_used=Amount(percent=75, at_most=100 * _GIB),
    min_free=Amount(percent=20),
    takes_shared=True,
)
_GC_KEYS: Final = (
    "enabled", "defaultKeepStorage", "defaultReservedSpace", "defaultMaxUsedSpace",
    "defaultMinFreeSpace", "policy",
)  # fmt: skip
_POLICY_KEYS: Final = (
    "keepStorage", "reservedSpace", "maxUsedSpace", "minFreeSpace", "keepDuration", "filter", "all",
)  # fmt: skip


def parse_gc(document: Json, clock: Clock = SYSTEM_CLOCK) -> tuple[Policy, ...]:
    """Return the policies of ``builder.gc``; none where it is switched off.

    Raises:
        InvalidParameterError: A key that does not exist, or a value that makes no sense.
    """
    if document is None or document == {}:
        return (DEFAULT_POLICY,)
    settings = _object(document, "builder.gc", _GC_KEYS)
    if settings.get("enabled") is False:
        return ()
    policies = settings.get("policy") or []
    if not isinstance(policies, list):
        raise InvalidParameterError("builder.gc.policy: want a list of objects")
    if policies:
        return tuple(_policy(each, clock) for each in policies)
    reserved = settings.get("defaultReservedSpace", settings.get("defaultKeepStorage"))
    return (
        DEFAULT_POLICY._replace(
            reserved=_amount(reserved, "defaultReservedSpace", DEFAULT_POLICY.reserved),
            max_used=_amount(
                settings.get("defaultMaxUsedSpace"), "defaultMaxUsedSpace", DEFAULT_POLICY.max_used
            ),
            min_free=_amount(
                settings.get("defaultMinFreeSpace"), "defaultMinFreeSpace", DEFAULT_POLICY.min_free
            ),
        ),
    )


def _policy(document: Json, clock: Clock) -> Policy:
    settings = _object(document, "builder.gc.policy", _POLICY_KEYS)
    filters: dict[str, list[str]] = {}
    listed = settings.get("filter") or []
    for text in listed if isinstance(listed, list) else [listed]:
        key, equals, value = str(text).partition("=")
        if not equals:
            raise InvalidParameterError(f"builder.gc.policy.filter: {text}: want NAME=VALUE")
        filters.setdefault(key, []).append(value)
    duration = settings.get("keepDuration")
    if duration is not None:
        filters.setdefault("unused-for", []).append(str(duration))
    reserved = settings.get("reservedSpace", settings.get("keepStorage"))
    return Policy(
        reserved=_amount(reserved, "reservedSpace", Amount()),
        max_used=_amount(settings.get("maxUsedSpace"), "maxUsedSpace", Amount()),
        min_free=_amount(settings.get("minFreeSpace"), "minFreeSpace", Amount()),
        takes_shared=settings.get("all") is True,
        fits=parse_fits(Filters(filters), clock),
    )


def _object(document: Json, name: str, known: tuple[str, ...]) -> JsonObject:
    if not isinstance(document, dict):
        raise InvalidParameterError(f"{name}: want an object")
    for key in document:
        if key not in known:
            raise InvalidParameterError(f"{name} has no {key}: use {', '.join(known)}")
    return document


def _amount(value: Json, name: str, default: Amount) -> Amount:
    if value is None:
        return default
    if isinstance(value, int):
        return Amount(size_bytes=value)
    try:
        return parse_amount(str(value))
    except InvalidParameterError as error:
        raise InvalidParameterError(f"builder.gc: {name}: {error}") from None
