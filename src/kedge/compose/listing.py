"""The lists ``compose config`` prints instead of the model. Pure."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from kedge.compose.canonical import items, section
from kedge.compose.failures import no_such_service
from kedge.compose.printing import escape_dollars
from kedge.compose.template import variables_in
from kedge.lib.fields import text
from kedge.lib.jsontypes import JsonObject

Lister = Callable[[JsonObject, Mapping[str, str]], list[str]]


def _images(model: JsonObject, _env: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for name, service in section(model, "services").items():
        image = service.get("image") if isinstance(service, dict) else None
        # A built image without a name is called after project and service.
        found.append(str(image) if image else f"{model.get('name')}-{name}")
    return found


def _profiles(model: JsonObject, _env: Mapping[str, str]) -> list[str]:
    names: set[str] = set()
    for service in section(model, "services").values():
        if isinstance(service, dict):
            names |= {str(profile) for profile in items(service.get("profiles"))}
    return sorted(names)


def _environment(_model: JsonObject, env: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in sorted(env.items())]


def _keys(kind: str) -> Lister:
    def lister(model: JsonObject, _env: Mapping[str, str]) -> list[str]:
        return list(section(model, kind))

    return lister


def _models(model: JsonObject, _env: Mapping[str, str]) -> list[str]:
    found = [text(one, "model") for one in section(model, "models").values()]
    return list(dict.fromkeys(name for name in found if name))


LISTS: Final[dict[str, Lister]] = {
    "services": _keys("services"),
    "volumes": _keys("volumes"),
    "networks": _keys("networks"),
    "models": _models,
    "images": _images,
    "profiles": _profiles,
    "environment": _environment,
}


def variables(model: JsonObject, *, as_json: bool) -> str:
    """Return what the texts of a model that was not interpolated need, as a table or as JSON."""
    found = sorted(variables_in(model).values())
    if as_json:
        document = {
            one.name: {
                "Name": one.name,
                "DefaultValue": one.default,
                "PresenceValue": one.presence,
                "Required": one.required,
            }
            for one in found
        }
        return json.dumps(document, indent=4) + "\n"
    rows = [("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE")]
    rows += [(one.name, str(one.required).lower(), one.default, one.presence) for one in found]
    widths = [max(20, *(len(row[at]) + 3 for row in rows)) for at in range(3)] + [0]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    )


def hashes(model: JsonObject, names: str) -> list[str]:
    """Return ``SERVICE HASH`` for the services named, with commas between them.

    Raises:
        NotFoundError: A service is not there.
    """
    from kedge.compose.fingerprint import service_hash  # noqa: PLC0415 - loads a library

    services = section(model, "services")
    lines: list[str] = []
    for name in services if names == "*" else names.split(","):
        service = services.get(name)
        if not isinstance(service, dict):
            raise no_such_service(name, services)
        lines.append(f"{name} {service_hash(service)}")
    return lines


def escaped(model: JsonObject) -> JsonObject:
    """Return the model with every ``$`` doubled, so that its text loads to the same model."""
    value = escape_dollars(model)
    return value if isinstance(value, dict) else {}
