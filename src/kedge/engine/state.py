"""The state machine of a container: the only place that says which status may follow which.

    created ──start──▶ running ◀──unpause── paused
       │                │  │ └────pause──────▶ │
       │                │  └──exit──▶ exited ──start──▶ running
       │                └──exit, policy──▶ restarting ──start──▶ running, ──stop──▶ exited
       └──────────── remove ──▶ removing ──▶ (gone, or dead when the removal failed)

A start that fails leaves a created container created and an exited one exited. `dead` keeps the
record of a container whose removal failed half-way, so that removing again finishes the work. What
does not run becomes restarting when an engine starts and the container's policy wants it back.
"""

from enum import StrEnum
from typing import Final

from kedge.errdefs import ConflictError


class Status(StrEnum):
    """What `docker ps` filters by; the values are the wire names."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


_FOLLOWERS: Final[dict[Status, frozenset[Status]]] = {
    Status.CREATED: frozenset({Status.RUNNING, Status.EXITED, Status.RESTARTING, Status.REMOVING}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.EXITED, Status.RESTARTING}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.EXITED, Status.RESTARTING}),
    Status.RESTARTING: frozenset({Status.RUNNING, Status.EXITED, Status.REMOVING}),
    Status.EXITED: frozenset({Status.RUNNING, Status.RESTARTING, Status.REMOVING}),
    Status.REMOVING: frozenset({Status.DEAD}),
    Status.DEAD: frozenset({Status.REMOVING}),
}

ALIVE: Final = frozenset({Status.RUNNING, Status.PAUSED})
"""A process exists."""


def follow(current: Status, new: Status, *, container: str) -> Status:
    """Return ``new`` if it may follow ``current``.

    Args:
        current: The status now.
        new: The status wanted.
        container: Name for the message.

    Raises:
        ConflictError: The table has no such arrow.
    """
    if new not in _FOLLOWERS[current]:
        raise ConflictError(f"container {container} is {current} and cannot become {new}")
    return new
