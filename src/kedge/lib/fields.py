"""Reading JSON answers: a value by path, with a type, and never an exception for what is absent."""

from kedge.lib.jsontypes import Json, JsonObject


def pick(document: Json, *path: str) -> Json:
    """Return the value at ``path``, or None where any step is missing."""
    for key in path:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


def text(document: Json, *path: str) -> str:
    """Return the string at ``path``; anything else is empty."""
    value = pick(document, *path)
    return value if isinstance(value, str) else ""


def number(document: Json, *path: str) -> int:
    """Return the number at ``path``; anything else is 0."""
    value = pick(document, *path)
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def flag(document: Json, *path: str) -> bool:
    """Return whether the value at ``path`` is true."""
    return pick(document, *path) is True


def mapping(document: Json, *path: str) -> JsonObject:
    """Return the object at ``path``; anything else is empty."""
    value = pick(document, *path)
    return value if isinstance(value, dict) else {}


def items(document: Json, *path: str) -> list[Json]:
    """Return the list at ``path``; anything else is empty."""
    value = pick(document, *path)
    return value if isinstance(value, list) else []


def texts(document: Json, *path: str) -> list[str]:
    """Return the strings of the list at ``path``."""
    return [item for item in items(document, *path) if isinstance(item, str)]


def objects(document: Json, *path: str) -> list[JsonObject]:
    """Return the objects of the list at ``path``."""
    return [item for item in items(document, *path) if isinstance(item, dict)]
