"""How the stages of the loader report a fault: a path in the model and one line of text.

The stages know paths such as ``services.web.ports``; only the loader knows files and lines, and
turns a `ModelError` into a `ComposeFileError` that names them.
"""

from typing import TypeAlias

from kedge.errdefs import InvalidParameterError

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
