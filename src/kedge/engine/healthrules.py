"""What a health check asks, when it asks next, and what an answer means. Pure.

Vocabulary and rules: moby ``daemon/health.go``. Docker's first probe comes one interval after the
start; within the start period failures do not count and `start_interval` is the interval until the
first success. Where no start interval was given, kedge looks earlier as well: 0.1, 0.2, 0.4 ...
seconds after the start, until Docker's first probe is due; failures before that never count. The
probes themselves are run by `kedge.engine.health`.
"""

from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from msgspec import field

from kedge.api.types.config import ContainerConfig, HealthConfig
from kedge.api.types.container import Health, HealthcheckResult
from kedge.errdefs import InvalidParameterError
from kedge.lib.clock import format_rfc3339
from kedge.lib.durations import MILLISECOND, SECOND, format_duration

KEPT_RESULTS: Final = 5
MAX_OUTPUT: Final = 4096
COULD_NOT_ASK: Final = -1
"""The exit code of a probe that took too long or could not be started."""

_INTERVAL_NS: Final = 30 * SECOND
_TIMEOUT_NS: Final = 30 * SECOND
_START_INTERVAL_NS: Final = 5 * SECOND
_RETRIES: Final = 3
_FIRST_LOOK_NS: Final = 100 * MILLISECOND
_SHELL: Final = ("/bin/sh", "-c")


class HealthStatus(StrEnum):
    """The wire's words; a container without a check has none of them but ``none``."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """One probe; times in nanoseconds since the epoch."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str = ""


class HealthRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is known of a container's health."""

    status: HealthStatus = HealthStatus.STARTING
    failing_streak: int = 0
    log: list[ProbeResult] = field(default_factory=list[ProbeResult])


class HealthPlan(NamedTuple):
    """A health check with every default filled in."""

    command: tuple[str, ...]
    interval_ns: int
    timeout_ns: int
    start_period_ns: int
    start_interval_ns: int
    retries: int
    looks_early: bool = False
    """No start interval was given: probes begin at once and back off."""

    @property
    def first_probe_ns(self) -> int:
        """How long after the start Docker's first probe comes."""
        return self.start_interval_ns if self.start_period_ns else self.interval_ns


def make_plan(config: ContainerConfig) -> HealthPlan | None:
    """Return the check of a container, or None when there is none or it is switched off."""
    check = config.healthcheck
    command = () if check is None else _command(check, config)
    if check is None or not command:
        return None
    return HealthPlan(
        command=command,
        interval_ns=check.interval or _INTERVAL_NS,
        timeout_ns=check.timeout or _TIMEOUT_NS,
        start_period_ns=check.start_period,
        start_interval_ns=check.start_interval or _START_INTERVAL_NS,
        retries=check.retries or _RETRIES,
        looks_early=not check.start_interval,
    )


def _command(check: HealthConfig, config: ContainerConfig) -> tuple[str, ...]:
    match check.test:
        case ["CMD", *words]:
            return tuple(words)
        case ["CMD-SHELL", *words]:
            return (*(config.shell or _SHELL), *words) if words else ()
        case _:
            return ()


def check_health_config(check: HealthConfig | None) -> None:
    """Raise unless the figures can be meant.

    Raises:
        InvalidParameterError: With Docker's texts.
    """
    if check is None:
        return
    for value, name in (
        (check.interval, "Interval"),
        (check.timeout, "Timeout"),
        (check.start_period, "StartPeriod"),
        (check.start_interval, "StartInterval"),
    ):
        if value and value < MILLISECOND:
            raise InvalidParameterError(f"{name} in Healthcheck cannot be less than 1ms")
    if check.retries < 0:
        raise InvalidParameterError("Retries in Healthcheck cannot be negative")


def next_interval_ns(plan: HealthPlan, status: HealthStatus, *, since_start_ns: int) -> int:
    """Return how long after the last probe, or the start, the next one comes.

    Args:
        plan: The check.
        status: What is known now.
        since_start_ns: How long after the start the last probe ended; 0 before the first one.
    """
    if status is not HealthStatus.STARTING:
        return plan.interval_ns
    pace = plan.start_interval_ns if since_start_ns < plan.start_period_ns else plan.interval_ns
    if not plan.looks_early:
        return pace
    # compat: Docker does not look before its first probe is due, 30 s by default.
    if since_start_ns < plan.first_probe_ns:
        # Each look comes twice as long after the start as the one before.
        early = max(since_start_ns, _FIRST_LOOK_NS - since_start_ns)
        return min(early, plan.first_probe_ns - since_start_ns, plan.interval_ns)
    return min(pace, plan.interval_ns)


def begin_health(config: ContainerConfig, before: HealthRecord | None) -> HealthRecord | None:
    """Return the health of a container that starts; the results of earlier lives are kept."""
    if make_plan(config) is None:
        return None
    return HealthRecord(log=[] if before is None else before.log)


def apply_result(
    plan: HealthPlan, health: HealthRecord, result: ProbeResult, *, started_ns: int
) -> bool:
    """Take a probe's result into ``health``; return whether status or streak have changed."""
    before = health.status, health.failing_streak
    health.log = [*health.log, result][-KEPT_RESULTS:]
    if result.exit_code == 0:
        health.failing_streak = 0
        health.status = HealthStatus.HEALTHY
    elif not (
        health.status is HealthStatus.STARTING
        and result.start_ns - started_ns < _counts_from_ns(plan)
    ):
        health.failing_streak += 1
        if health.failing_streak >= plan.retries:
            health.status = HealthStatus.UNHEALTHY
    return before != (health.status, health.failing_streak)


def _counts_from_ns(plan: HealthPlan) -> int:
    if plan.looks_early:
        return max(plan.start_period_ns, plan.first_probe_ns)
    return plan.start_period_ns


def cut_output(output: bytes) -> str:
    """Return a probe's output as it is kept: at most 4096 bytes, with dots where more followed."""
    text = output[:MAX_OUTPUT].decode("utf-8", "replace")
    return f"{text}..." if len(output) > MAX_OUTPUT else text


def timeout_text(plan: HealthPlan, output: bytes) -> str:
    """Return what Docker says of a probe that was killed."""
    text = f"Health check exceeded timeout ({format_duration(plan.timeout_ns)})"
    return f"{text}: {cut_output(output)}" if output else text


def show_health(health: HealthRecord) -> Health:
    """Return the ``State.Health`` of an inspect."""
    return Health(
        status=health.status,
        failing_streak=health.failing_streak,
        log=[
            HealthcheckResult(
                start=format_rfc3339(item.start_ns),
                end=format_rfc3339(item.end_ns),
                exit_code=item.exit_code,
                output=item.output,
            )
            for item in health.log
        ],
    )


def health_words(health: HealthRecord) -> str:
    """Return what the STATUS column of ``docker ps`` shows in brackets."""
    return "health: starting" if health.status is HealthStatus.STARTING else str(health.status)
