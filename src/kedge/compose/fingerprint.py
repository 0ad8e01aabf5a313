"""The hash of a service, and what changed since a container was made: hashes by attribute. Pure.

They are kept in labels, so that nothing of the old service itself, such as a password in its
environment, is kept besides what the engine has anyway.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Final, cast

from kedge.compose.canonical import section
from kedge.lib.jsontypes import Json, JsonObject

# What may change without the container being another one.
_NOT_HASHED: Final = frozenset({"build", "pull_policy", "scale", "depends_on", "profiles"})
_BY_KEY: Final = {"environment": "env", "labels": "label"}
_DIGITS: Final = 8
_SHOWN: Final = 3


def service_hash(service: JsonObject) -> str:
    """Return what tells whether a service's containers are still what its file asks for.

    compat: not the reference implementation's bytes, whose order of fields is its own.
    """
    kept = hashed_attributes(service)
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hashed_attributes(service: JsonObject) -> JsonObject:
    """Return the attributes whose change makes another container."""
    kept = {key: value for key, value in service.items() if key not in _NOT_HASHED}
    deploy = {key: value for key, value in section(kept, "deploy").items()
              if key != "replicas" and value != {}}  # fmt: skip
    kept.pop("deploy", None)
    return {**kept, "deploy": deploy} if deploy else kept


def parts_of(service: JsonObject) -> dict[str, str]:
    """Return a short hash by attribute; environment and labels by name."""
    return {name: _digest(value) for name, value in _attributes(service)}


def _attributes(service: JsonObject) -> Iterator[tuple[str, Json]]:
    for name, value in sorted(hashed_attributes(service).items()):
        if name in _BY_KEY and isinstance(value, dict):
            for key, item in sorted(value.items()):
                yield f"{_BY_KEY[name]} {key}", item
        else:
            yield name, value


def _digest(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def format_parts(parts: dict[str, str]) -> str:
    """Return the label's text."""
    return json.dumps(parts, separators=(",", ":"))


def describe_changes(label: str, service: JsonObject) -> str:
    """Return what changed, for people: ``env DB_URL changed, ports added``.

    ``label`` is what `format_parts` made for the container; without one nothing more is known.
    """
    before = _parse(label)
    if not before:
        return "configuration changed"
    now = parts_of(service)
    changes = [f"{name} {'changed' if name in before else 'added'}"
               for name, digest in now.items() if before.get(name) != digest]  # fmt: skip
    changes += [f"{name} removed" for name in before if name not in now]
    more = len(changes) - _SHOWN
    shown = ", ".join(changes[:_SHOWN]) or "configuration changed"
    return f"{shown} and {more} more" if more > 0 else shown


def _parse(label: str) -> dict[str, str]:
    try:
        document = cast("Json", json.loads(label)) if label else None
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    return {name: digest for name, digest in document.items() if isinstance(digest, str)}
