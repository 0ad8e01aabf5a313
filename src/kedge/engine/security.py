"""Capabilities and ``--security-opt``: from Docker's flags to plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kedge.engine import defaults
from kedge.engine.seccompfile import parse_profile
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import JsonObject

_BOOLEANS: Final = {"": True, "true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """What the process may do, decided before the specification is written."""

    capabilities: tuple[str, ...] = defaults.DEFAULT_CAPABILITIES
    no_new_privileges: bool = False
    seccomp_unconfined: bool = False
    seccomp_profile: JsonObject | None = None
    """A profile of the user's own; None for the default."""
    apparmor_profile: str = ""
    unmask_paths: bool = False


def parse_security(
    options: Sequence[str],
    *,
    cap_add: Sequence[str] = (),
    cap_drop: Sequence[str] = (),
    privileged: bool = False,
) -> SecurityOptions:
    """Return the decision for one container.

    Args:
        options: Values of ``--security-opt``; the client sends a seccomp profile's text.
        cap_add: Names with or without ``CAP_``, or ``ALL``.
        cap_drop: The same.
        privileged: All capabilities, no seccomp, nothing masked.

    Raises:
        InvalidParameterError: An unknown capability, option or a broken profile.
    """
    no_new_privileges = False
    unmask = False
    apparmor = ""
    seccomp_unconfined = False
    profile: JsonObject | None = None
    for option in options:
        key, separator, value = option.partition("=")
        if not separator and ":" in option:
            key, _, value = option.partition(":")
        match key:
            case "no-new-privileges" if value.lower() in _BOOLEANS:
                no_new_privileges = _BOOLEANS[value.lower()]
            case "systempaths" if value == "unconfined":
                unmask = True
            case "apparmor":
                apparmor = "" if value == "unconfined" else value
            case "seccomp" if value == "unconfined":
                seccomp_unconfined = True
            case "seccomp" if value != "builtin":
                profile = parse_profile(value)
            case "seccomp" | "label":
                pass
            case _:
                raise InvalidParameterError(f'invalid --security-opt 2: "{option}"')
    return SecurityOptions(
        capabilities=select_capabilities(cap_add, cap_drop, privileged=privileged),
        no_new_privileges=no_new_privileges,
        seccomp_unconfined=seccomp_unconfined,
        seccomp_profile=profile,
        apparmor_profile=apparmor,
        unmask_paths=unmask,
    )


def select_capabilities(
    cap_add: Sequence[str], cap_drop: Sequence[str], *, privileged: bool = False
) -> tuple[str, ...]:
    """Return the capability set by Docker's rules: ``ALL`` first, then drops, then adds.

    Raises:
        InvalidParameterError: A name that is no capability.
    """
    if privileged:
        return defaults.ALL_CAPABILITIES
    add = _normalize(cap_add, "CapAdd")
    drop = _normalize(cap_drop, "CapDrop")
    if "ALL" in add:
        chosen = set(defaults.ALL_CAPABILITIES) - drop
    elif "ALL" in drop:
        chosen = add
    else:
        chosen = (set(defaults.DEFAULT_CAPABILITIES) - drop) | add
    return tuple(name for name in defaults.ALL_CAPABILITIES if name in chosen)


def _normalize(names: Sequence[str], field: str) -> set[str]:
    chosen: set[str] = set()
    for name in names:
        upper = name.upper()
        full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
        if full != "ALL" and full not in defaults.ALL_CAPABILITIES:
            raise InvalidParameterError(f'invalid {field}: unknown capability: "{full}"')
        chosen.add(full)
    return chosen
