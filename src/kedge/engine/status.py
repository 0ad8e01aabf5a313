"""The human sentence about a container's state, word for word Docker's. Pure."""

from kedge.engine.record import ContainerRecord
from kedge.engine.state import Status


def human_duration(seconds: float) -> str:
    """Return Docker's rough wording of a length of time, such as ``About an hour``.

    Source: docker/go-units ``HumanDuration``.
    """
    whole = int(seconds)
    minutes, hours = whole // 60, int(whole / 3600 + 0.5)
    if whole < 1:
        text = "Less than a second"
    elif whole == 1:
        text = "1 second"
    elif whole < 60:
        text = f"{whole} seconds"
    elif minutes == 1:
        text = "About a minute"
    elif minutes < 60:
        text = f"{minutes} minutes"
    elif hours == 1:
        text = "About an hour"
    elif hours < 48:
        text = f"{hours} hours"
    elif hours < 24 * 7 * 2:
        text = f"{hours // 24} days"
    elif hours < 24 * 30 * 2:
        text = f"{hours // 24 // 7} weeks"
    elif hours < 24 * 365 * 2:
        text = f"{hours // 24 // 30} months"
    else:
        text = f"{hours // 24 // 365} years"
    return text


def describe(record: ContainerRecord, now_ns: int) -> str:
    """Return the STATUS column of ``docker ps`` for ``record``."""
    up = human_duration((now_ns - record.started_ns) / 1e9)
    ended = human_duration((now_ns - record.finished_ns) / 1e9)
    match record.status:
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
