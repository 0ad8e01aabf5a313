"""Merging one model over another, by path, and one entry per key afterwards. Pure.

Mappings merge, scalars are replaced, sequences are appended; `_MERGERS` says where it is
otherwise. ``KEY=value`` attributes become sequences on the way, so that both forms meet.
"""

from collections.abc import Callable
from typing import Final

from kedge.compose.failures import ModelError, Path, dotted
from kedge.compose.volumespec import parse_volume
from kedge.compose.yamlvalues import clone
from kedge.lib.jsontypes import Json, JsonObject

Merger = Callable[[Json, Json, Path], Json]
Pattern = tuple[str, ...]


def merge(base: JsonObject, over: JsonObject) -> JsonObject:
    """Return ``over`` merged into a copy of ``base``.

    Raises:
        ModelError: The two have different shapes.
    """
    merged: JsonObject = {}
    merged.update(base)
    return _mappings(merged, over, ())


def matches(path: Path, pattern: Pattern) -> bool:
    """Tell whether a path is of a pattern, where ``*`` is any one part."""
    return len(path) == len(pattern) and all(
        want in ("*", part) for part, want in zip(path, pattern, strict=True)
    )


def _merge(base: Json, over: Json, path: Path) -> Json:
    for pattern, merger in _MERGERS:
        if matches(path, pattern):
            return merger(base, over, path)
    if over is None:
        return base
    if isinstance(base, dict):
        if not isinstance(over, dict):
            raise ModelError(path, f"cannot override {dotted(path)}")
        return _mappings(base, over, path)
    if isinstance(base, list):
        if not isinstance(over, list):
            raise ModelError(path, f"cannot override {dotted(path)}")
        return _append(base, over)
    return over


def _mappings(base: JsonObject, over: JsonObject, path: Path) -> JsonObject:
    merged: JsonObject = {}
    merged.update(base)
    for key, value in over.items():
        merged[key] = _merge(merged[key], value, (*path, key)) if key in merged else value
    return merged


def _append(base: list[Json], over: list[Json]) -> list[Json]:
    merged = [*base]
    merged += [item for item in over if item not in base]
    return merged


def _replace(_base: Json, over: Json, _path: Path) -> Json:
    return over


def _to_sequence(base: Json, over: Json, _path: Path) -> Json:
    return _append(as_entries(base), as_entries(over))


def _key_values(base: Json, over: Json, path: Path) -> Json:
    return unique([*as_entries(base), *as_entries(over)], _by_key, path)


def as_entries(value: Json) -> list[Json]:
    """Return a mapping, list or text as a list of ``KEY=value``."""
    if isinstance(value, dict):
        entries: list[str] = []
        for key, item in value.items():
            if item is None:
                entries.append(key)
            else:
                items = item if isinstance(item, list) else [item]
                entries += [f"{key}={scalar_text(one)}" for one in items]
        return [*sorted(entries)]
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def scalar_text(value: Json) -> str:
    """Return a scalar as text, in YAML's words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _build(base: Json, over: Json, path: Path) -> Json:
    return _as_mappings(_context(base), _context(over), path, None)


def _context(value: Json) -> Json:
    return {"context": value} if isinstance(value, str) else value


def _depends_on(base: Json, over: Json, path: Path) -> Json:
    return _as_mappings(base, over, path, {"condition": "service_started", "required": True})


def _named(base: Json, over: Json, path: Path) -> Json:
    return _as_mappings(base, over, path, None)


def _as_mappings(base: Json, over: Json, path: Path, default: Json) -> Json:
    return _mappings(_by_name(base, default, path), _by_name(over, default, path), path)


def _by_name(value: Json, default: Json, path: Path) -> JsonObject:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    names = value if isinstance(value, list) else [value]
    found: JsonObject = {}
    for name in names:
        if not isinstance(name, str):
            raise ModelError(path, f"{dotted(path)}: names must be text")
        found[name] = clone(default)
    return found


def _logging(base: Json, over: Json, path: Path) -> Json:
    if not isinstance(base, dict) or not isinstance(over, dict):
        raise ModelError(path, f"{dotted(path)} must be a mapping")
    old, new = base.get("driver"), over.get("driver")
    return over if old and new and old != new else _mappings(base, over, path)


def _ipam(base: Json, over: Json, path: Path) -> Json:
    if not isinstance(base, list) or not isinstance(over, list):
        raise ModelError(path, f"{dotted(path)} must be a list")
    merged = [*base]
    for item in over:
        subnet = item.get("subnet") if isinstance(item, dict) else None
        for index, pool in enumerate(merged):
            if isinstance(pool, dict) and isinstance(item, dict) and pool.get("subnet") == subnet:
                merged[index] = _mappings(pool, item, path)
                break
        else:
            merged.append(item)
    return merged


def _path(text: str) -> Pattern:
    return tuple(text.split("."))


_SERVICE_MERGERS: Final[dict[str, Merger]] = {
    "annotations": _key_values,
    "build": _build,
    "build.args": _key_values,
    "build.additional_contexts": _key_values,
    "build.extra_hosts": _to_sequence,
    "build.labels": _key_values,
    "command": _replace,
    "depends_on": _depends_on,
    "deploy.labels": _key_values,
    "dns": _to_sequence,
    "dns_opt": _to_sequence,
    "dns_search": _to_sequence,
    "entrypoint": _replace,
    "env_file": _to_sequence,
    "label_file": _to_sequence,
    "environment": _key_values,
    "extra_hosts": _to_sequence,
    "healthcheck.test": _replace,
    "labels": _key_values,
    "logging": _logging,
    "models": _named,
    "networks": _named,
    "sysctls": _key_values,
    "tmpfs": _to_sequence,
    "ulimits.*": _replace,
}
_MERGERS: Final[tuple[tuple[Pattern, Merger], ...]] = (
    *((_path(f"services.*.{name}"), merger) for name, merger in _SERVICE_MERGERS.items()),
    (_path("networks.*.ipam.config"), _ipam),
    *(
        (_path(f"{kind}.*.labels"), _key_values)
        for kind in ("networks", "volumes", "secrets", "configs")
    ),
)


Key = Callable[[Json, Path], str]


def enforce_unicity(value: Json, path: Path = ()) -> Json:
    """Return a model where each list of `_UNIQUE` has one entry per key, the later one."""
    if isinstance(value, dict):
        return {key: enforce_unicity(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        for pattern, key in _UNIQUE:
            if matches(path, pattern):
                return unique(value, key, path)
    return value


def unique(entries: list[Json], key: Key, path: Path) -> list[Json]:
    """Return the entries with later ones in the place of earlier ones of the same key."""
    found: dict[str, Json] = {}
    for index, entry in enumerate(entries):
        found[key(entry, (*path, index))] = entry
    return [*found.values()]


def _by_key(entry: Json, path: Path) -> str:
    if isinstance(entry, (dict, list)) or entry is None:
        raise ModelError(path, f"{dotted(path)} must be a string")
    return scalar_text(entry).partition("=")[0]


def _by_target(entry: Json, path: Path) -> str:
    volume = parse_volume(entry) if isinstance(entry, str) else entry
    target = volume.get("target") if isinstance(volume, dict) else None
    if not isinstance(target, str):
        raise ModelError(path, f"{dotted(path)} is missing a mount target")
    return target


def _by_device(entry: Json, path: Path) -> str:
    if isinstance(entry, str):
        return entry.split(":")[min(1, entry.count(":"))]
    return _by_target(entry, path)


def _by_value(entry: Json, path: Path) -> str:
    if isinstance(entry, (dict, list)) or entry is None:
        raise ModelError(path, f"{dotted(path)} must be a string or number")
    return str(entry)


def _by_port(entry: Json, _path: Path) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    host, protocol = entry.get("host_ip", "0.0.0.0"), entry.get("protocol", "tcp")  # noqa: S104 - what is meant by none
    return f"{host}:{entry.get('published')}:{entry.get('target')}/{protocol}"


def _by_env_file(entry: Json, _path: Path) -> str:
    return str(entry.get("path")) if isinstance(entry, dict) else str(entry)


def _by_mount(folder: str) -> Key:
    def key(entry: Json, _path: Path) -> str:
        if not isinstance(entry, dict):
            return f"{folder}/{entry}"
        return str(entry.get("target") or f"{folder}/{entry.get('source')}")

    return key


_KEYED: Final = (
    *("annotations", "build.args", "build.additional_contexts", "build.tags", "build.labels"),
    *("cap_add", "cap_drop", "deploy.labels", "dns", "dns_opt", "dns_search", "environment"),
    *("labels", "links", "networks.*.aliases", "networks.*.link_local_ips", "profiles"),
    *("sysctls", "tmpfs"),
)
_UNIQUE: Final[tuple[tuple[Pattern, Key], ...]] = (
    (_path("networks.*.labels"), _by_key),
    (_path("networks.*.ipam.options"), _by_key),
    *((_path(f"services.*.{name}"), _by_key) for name in _KEYED),
    (_path("services.*.devices"), _by_device),
    (_path("services.*.volumes"), _by_target),
    (_path("services.*.configs"), _by_mount("")),
    (_path("services.*.secrets"), _by_mount("/run/secrets")),
    (_path("services.*.env_file"), _by_env_file),
    (_path("services.*.expose"), _by_value),
    (_path("services.*.ports"), _by_port),
)
