"""How the stages of the loader report a fault: a path in the model and one line of text.

The stages know paths such as ``services.web.ports``; only the loader knows files and lines, and
turns a `ModelError` into a `ComposeFileError` that names them.
"""

from collections.abc import Iterable
from typing import TypeAlias

from kedge.errdefs import InvalidParameterError, NotFoundError

Path: TypeAlias = tuple[str | int, ...]


class ComposeFileError(InvalidParameterError):
    """A Compose or environment file that cannot be used; the text begins with the place."""


class ModelError(InvalidParameterError):
    """A fault at ``path``; its text does not name a file."""

    def __init__(self, path: Path, message: str) -> None:
        """Keep ``path`` for whoever knows the lines."""
        super().__init__(message)
        self.path = path


def one_line(text: str) -> str:
    """Return ``text`` with every run of white space and control characters as one space."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def dotted(path: Path) -> str:
    """Return a path as messages show it: ``services.web.ports.0``."""
    return ".".join(str(part) for part in path)


def no_such_service(name: str, known: Iterable[str]) -> NotFoundError:
    """Return that a service is not there, with the nearest one that is."""
    from difflib import get_close_matches  # noqa: PLC0415 - only on a mistake

    near = get_close_matches(name, list(known), 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return NotFoundError(f"no such service: {name}{hint}")
