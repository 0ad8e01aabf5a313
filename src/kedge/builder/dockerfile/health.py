"""The options and the command of HEALTHCHECK."""

from typing import Final

from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.flags import FlagKind, Flags
from kedge.builder.dockerfile.instructions import HealthCheck
from kedge.errdefs import InvalidParameterError
from kedge.lib.durations import MILLISECOND, format_duration, parse_duration

HEALTH_FLAGS: Final[dict[str, FlagKind]] = dict.fromkeys(
    ("interval", "timeout", "start-period", "start-interval", "retries"), FlagKind.TEXT
)


def parse_health(words: tuple[str, ...], flags: Flags, *, is_json: bool) -> HealthCheck:
    """Return what ``HEALTHCHECK <flags> <words>`` stores.

    Raises:
        DockerfileError: Neither NONE nor CMD, no command, or a bad duration or count.
    """
    kind = words[0].upper()
    command = words[1:]
    if kind == "NONE":
        if command:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        if flags.used:
            raise DockerfileError(f"unknown flag: --{flags.used[0]}")
        return HealthCheck(test=("NONE",))
    if kind != "CMD":
        raise DockerfileError(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    if not command:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    return HealthCheck(
        test=("CMD" if is_json else "CMD-SHELL", *command),
        interval_ns=_interval(flags, "interval"),
        timeout_ns=_interval(flags, "timeout"),
        start_period_ns=_interval(flags, "start-period"),
        start_interval_ns=_interval(flags, "start-interval"),
        retries=_retries(flags.text("retries", "0")),
    )


def describe_health(check: HealthCheck) -> str:
    """Return ``check`` as the history of an image shows it."""
    times = (
        f"Interval:{format_duration(check.interval_ns)} "
        f"Timeout:{format_duration(check.timeout_ns)} "
        f"StartPeriod:{format_duration(check.start_period_ns)} "
        f"StartInterval:{format_duration(check.start_interval_ns)}"
    )
    return f"{{Test:[{' '.join(check.test)}] {times} Retries:{check.retries}}}"


def _interval(flags: Flags, name: str) -> int:
    text = flags.text(name)
    if not text:
        return 0
    try:
        value = parse_duration(text)
    except InvalidParameterError as error:
        raise DockerfileError(str(error)) from None
    if value != 0 and value < MILLISECOND:
        raise DockerfileError(f'Interval "{name}" cannot be less than 1ms')
    return value


def _retries(text: str) -> int:
    digits = text.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 9:
        raise DockerfileError(f'--retries is no number: "{text}"')
    if int(text) < 0:
        raise DockerfileError(f"--retries cannot be negative ({text})")
    return int(text)
