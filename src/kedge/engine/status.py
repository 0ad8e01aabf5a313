"""The human sentence about a container's state, word for word Docker's. Pure."""

from kedge.engine.healthrules import health_words
from kedge.engine.record import ContainerRecord
from kedge.engine.state import Status
from kedge.lib.durations import human_duration


def describe(record: ContainerRecord, now_ns: int) -> str:
    """Return the STATUS column of ``docker ps`` for ``record``."""
    up = human_duration(now_ns - record.started_ns)
    ended = human_duration(now_ns - record.finished_ns)
    match record.status:
        case Status.RUNNING if record.health is not None:
            return f"Up {up} ({health_words(record.health)})"
        case Status.RUNNING:
            return f"Up {up}"
        case Status.PAUSED:
            return f"Up {up} (Paused)"
        case Status.RESTARTING:
            return f"Restarting ({record.exit_code}) {ended} ago"
        case Status.REMOVING:
            return "Removal In Progress"
        case Status.DEAD:
            return "Dead"
        case Status.CREATED:
            return "Created"
        case Status.EXITED:
            return f"Exited ({record.exit_code}) {ended} ago" if record.finished_ns else ""
