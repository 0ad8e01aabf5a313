"""What a running command tells about its progress: plain events for whoever shows them.

The words are Docker Compose's (``Container x  Started``), as scripts and people read them.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, TypeAlias


class Kind(StrEnum):
    """What an event is about."""

    CONTAINER = "Container"
    NETWORK = "Network"
    VOLUME = "Volume"
    IMAGE = "Image"
    CONFIG = "Config"
    SERVICE = "Service"


class Status(StrEnum):
    """How far it is."""

    WORKING = "Working"
    DONE = "Done"
    WARNING = "Warning"
    ERROR = "Error"


class Event(NamedTuple):
    """One step of a resource; the latest of a resource is its state."""

    kind: Kind
    name: str
    text: str
    """Docker's word: Creating, Created, Started, Healthy, Removed ..."""
    status: Status
    details: str = ""
    """Why, or how far: ``env DB_URL changed``."""
    current: int = 0
    total: int = 0
    """Bytes or steps, where they are known."""
    output: str = ""
    """Lines a build printed since the last event of the resource; never part of the list."""

    @property
    def id(self) -> str:
        """The resource as it is shown: ``Container web-1``."""
        return f"{self.kind} {self.name}"


Report: TypeAlias = Callable[[Event], None]
"""Takes an event; called from several threads at once."""


def working(kind: Kind, name: str, text: str, details: str = "") -> Event:
    """Return that something is being done."""
    return Event(kind, name, text, Status.WORKING, details)


def done(kind: Kind, name: str, text: str, details: str = "") -> Event:
    """Return that something is done."""
    return Event(kind, name, text, Status.DONE, details)


def warning(kind: Kind, name: str, text: str, details: str = "") -> Event:
    """Return that something is not as asked, which is no failure."""
    return Event(kind, name, text, Status.WARNING, details)


def failed(kind: Kind, name: str, details: str) -> Event:
    """Return that something failed."""
    return Event(kind, name, "Error", Status.ERROR, details)
