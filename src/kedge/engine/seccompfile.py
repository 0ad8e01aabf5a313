"""``--security-opt seccomp=FILE``: Docker's profile form turned into the OCI's. Pure.

Docker's form has conditions (``includes``, ``excludes``) on machine, capability and kernel, and a
map of architectures; the runtime specification knows neither. Source of the form: moby
``profiles/seccomp``.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, cast

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject

_FAILED: Final = "decoding seccomp profile failed"
_MACHINES: Final = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the conditions of a profile are about."""

    machine: str
    """As uname(2) names it."""
    kernel: tuple[int, int]
    capabilities: Collection[str]


def parse_profile(text: str) -> JsonObject:
    """Return the profile as a document.

    Raises:
        InvalidParameterError: It is no JSON object or has no default action.
    """
    try:
        document = cast("Json", json.loads(text))
    except ValueError as error:
        raise InvalidParameterError(f"{_FAILED}: {error}") from None
    if not isinstance(document, dict) or "defaultAction" not in document:
        raise InvalidParameterError(f"{_FAILED}: no defaultAction")
    if document.get("architectures") and document.get("archMap"):
        raise InvalidParameterError(
            "'architectures' and 'archMap' were specified in the seccomp profile, use either "
            "'architectures' or 'archMap'"
        )
    rules = document.get("syscalls")
    for rule in rules if isinstance(rules, list) else []:
        if not isinstance(rule, dict):
            raise InvalidParameterError(f"{_FAILED}: syscalls: not an object")
        if rule.get("name") and rule.get("names"):
            raise InvalidParameterError(
                "'name' and 'names' were specified in the seccomp profile, use either 'name' or "
                "'names'"
            )
    return document


def convert_profile(profile: JsonObject, here: Circumstances) -> JsonObject:
    """Return the runtime specification's ``linux.seccomp`` for a profile under ``here``."""
    converted: JsonObject = {
        key: profile[key]
        for key in ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata")
        if key in profile
    }
    architectures = profile.get("architectures") or _architectures(profile, here)
    if architectures:
        converted["architectures"] = architectures
    rules = profile.get("syscalls")
    converted["syscalls"] = [
        _convert_rule(rule)
        for rule in (rules if isinstance(rules, list) else [])
        if isinstance(rule, dict) and _holds(rule, here)
    ]
    return converted


def _architectures(profile: JsonObject, here: Circumstances) -> list[Json]:
    _, native = _MACHINES.get(here.machine, ("", ""))
    entries = profile.get("archMap")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("architecture") == native:
            others = entry.get("subArchitectures")
            return [native, *(others if isinstance(others, list) else [])]
    return []


def _convert_rule(rule: JsonObject) -> JsonObject:
    converted: JsonObject = {
        "names": rule.get("names") or [rule.get("name")],
        "action": rule.get("action"),
    }
    if rule.get("args"):
        converted["args"] = rule["args"]
    if rule.get("errnoRet") is not None:
        converted["errnoRet"] = rule["errnoRet"]
    return converted


def _holds(rule: JsonObject, here: Circumstances) -> bool:
    """Whether every condition of ``includes`` and none of ``excludes`` is met."""
    includes, excludes = _object(rule, "includes"), _object(rule, "excludes")
    architecture, _ = _MACHINES.get(here.machine, (here.machine, ""))
    wanted, unwanted = _strings(includes, "arches"), _strings(excludes, "arches")
    if architecture in unwanted or (wanted and architecture not in wanted):
        return False
    if any(name in here.capabilities for name in _strings(excludes, "caps")):
        return False
    if any(name not in here.capabilities for name in _strings(includes, "caps")):
        return False
    minimum, maximum = includes.get("minKernel"), excludes.get("minKernel")
    if isinstance(minimum, str) and minimum and here.kernel < _kernel(minimum):
        return False
    return not (isinstance(maximum, str) and maximum and here.kernel >= _kernel(maximum))


def _kernel(text: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        raise InvalidParameterError(f"{_FAILED}: invalid kernel version: {text}")
    return int(match[1]), int(match[2])


def _object(rule: JsonObject, key: str) -> JsonObject:
    value = rule.get(key)
    return value if isinstance(value, dict) else {}


def _strings(condition: JsonObject, key: str) -> list[str]:
    value = condition.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []
