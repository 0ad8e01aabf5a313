"""A presented model as YAML or JSON text, and the hash of a service."""

import hashlib
import json
from typing import Final

import yaml

from kedge.compose.canonical import section
from kedge.lib.jsontypes import Json, JsonObject

# What may change without the container being another one.
_NOT_HASHED: Final = frozenset({"build", "pull_policy", "scale", "depends_on", "profiles"})


def to_yaml(model: JsonObject) -> str:
    """Return the model as YAML, two spaces deep, in the order it has."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(model, Dumper=dumper, sort_keys=False, allow_unicode=True, width=1 << 20))


def to_json(model: JsonObject) -> str:
    """Return the model as JSON, two spaces deep."""
    services: JsonObject = {
        name: {"command": None, "entrypoint": None, **service}
        if isinstance(service, dict)
        else service
        for name, service in section(model, "services").items()
    }
    full: JsonObject = {**model, "services": services} if "services" in model else model
    return json.dumps(full, indent=2, ensure_ascii=False) + "\n"


def escape_dollars(value: Json) -> Json:
    """Return a model in which no text is read as a variable when it is loaded again."""
    if isinstance(value, dict):
        return {key: escape_dollars(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape_dollars(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


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
