"""Why a step was not in the cache: what differs from the remembered step it is most like.

Pure: compares the documents that keys are hashes of. It says nothing rather than guess: a step on
a new parent is explained by the step before, a command never seen here needs no explanation.
"""

import json
from collections.abc import Iterable
from typing import Final, cast

from kedge.lib.jsontypes import Json, JsonObject

_DIGITS: Final = 4
_FIELDS: Final = ("user", "cwd", "network", "owner", "mode", "link", "parents", "unpack", "mounts")


def explain_miss(document: str, text: str, known: Iterable[str]) -> str:
    """Return one line about what changed; empty when nothing like it is known.

    Args:
        document: What the key that was not found is the hash of.
        text: The step's history entry.
        known: Documents of steps on the same parent, the likeliest first.
    """
    new = _load(document)
    operation = _object(new.get("op"))
    for other in known:
        old = _load(other)
        if _is_like(operation, _object(old.get("op"))):
            return _difference(new, old, text)
    return ""


def _is_like(new: JsonObject, old: JsonObject) -> bool:
    same = ("kind", "args", "script") if new.get("kind") == "run" else ("kind", "destination")
    return new.get("kind") != "mkdir" and all(new.get(name) == old.get(name) for name in same)


def _difference(new: JsonObject, old: JsonObject, text: str) -> str:
    instruction = text.partition(" ")[0]
    before, after = _object(old.get("op")), _object(new.get("op"))
    then, now = _variables(before), _variables(after)
    for name in (*now, *(name for name in then if name not in now)):
        if then.get(name) != now.get(name):
            is_argument = text.startswith("RUN |") and f" {name}=" in text
            word = "ARG" if is_argument else "ENV"
            return f"{word} {name}: {then.get(name, 'unset')} → {now.get(name, 'unset')}"
    for field in _FIELDS:
        if before.get(field) != after.get(field):
            return (
                f"{instruction} {field}: {_shown(before.get(field))} → {_shown(after.get(field))}"
            )
    had, has = _files(old), _files(new)
    for name, digest in has.items():
        shown = name or "the folder"
        if name not in had:
            return f"{instruction} {shown}: new"
        if had[name] != digest:
            return f"{instruction} {shown}: changed, {_short(had[name])} → {_short(digest)}"
    gone = next((name for name in had if name not in has), None)
    if gone is not None:
        return f"{instruction} {gone or 'the folder'}: gone"
    return "SOURCE_DATE_EPOCH changed" if old.get("epoch") != new.get("epoch") else ""


def _variables(operation: JsonObject) -> dict[str, str]:
    items = cast("list[str]", operation.get("env") or [])
    pairs = (item.partition("=") for item in items)
    return {name: value for name, _, value in pairs}


def _files(document: JsonObject) -> dict[str, str]:
    inputs = cast("list[Json]", document.get("inputs") or [])
    found = (each for each in inputs if isinstance(each, dict))
    return {str(each.get("name", "")): str(each.get("digest", "")) for each in found}


def _short(digest: str) -> str:
    return f"{digest.partition(':')[2][:_DIGITS]}…"


def _shown(value: Json) -> str:
    return json.dumps(value) if value not in ("", None) else "unset"


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _load(document: str) -> JsonObject:
    return cast("JsonObject", json.loads(document))
