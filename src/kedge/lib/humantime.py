"""Lengths of time in Docker's rough words, for tables. Pure."""


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
