"""Docker's rules of health, without a container."""

import pytest

from kedge.api.types.config import ContainerConfig, HealthConfig
from kedge.engine.health import payloads
from kedge.engine.healthrules import (
    HealthPlan,
    HealthRecord,
    HealthStatus,
    ProbeResult,
    apply_result,
    begin_health,
    check_health_config,
    cut_output,
    health_words,
    make_plan,
    next_interval_ns,
    show_health,
    timeout_text,
)
from kedge.errdefs import InvalidParameterError

SECOND = 1_000_000_000
PLAN = HealthPlan(
    command=("true",), interval_ns=30 * SECOND, timeout_ns=1500 * 10**6,
    start_period_ns=60 * SECOND, start_interval_ns=5 * SECOND, retries=3,
)  # fmt: skip


def config(*test: str, shell: list[str] | None = None) -> ContainerConfig:
    return ContainerConfig(healthcheck=HealthConfig(test=list(test)), shell=shell)


def answer(code: int, at_ns: int = 0, output: str = "") -> ProbeResult:
    return ProbeResult(start_ns=at_ns, end_ns=at_ns, exit_code=code, output=output)


def test_the_defaults_are_dockers() -> None:
    assert make_plan(config("CMD", "curl", "-f", "x")) == HealthPlan(
        ("curl", "-f", "x"), 30 * SECOND, 30 * SECOND, 0, 5 * SECOND, 3, looks_early=True
    )


@pytest.mark.parametrize(
    ("test", "command"),
    [
        (("CMD-SHELL", "a || b"), ("/bin/sh", "-c", "a || b")),
        (("NONE",), None),
        ((), None),
        (("CMD",), None),
        (("CMD-SHELL",), None),
        (("bogus", "x"), None),
    ],
)
def test_commands(test: tuple[str, ...], command: tuple[str, ...] | None) -> None:
    plan = make_plan(config(*test))
    assert (None if plan is None else plan.command) == command


def test_the_images_shell_is_used() -> None:
    plan = make_plan(config("CMD-SHELL", "x", shell=["/bin/bash", "-o", "pipefail", "-c"]))
    assert plan is not None
    assert plan.command == ("/bin/bash", "-o", "pipefail", "-c", "x")


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (HealthConfig(interval=1), "Interval in Healthcheck cannot be less than 1ms"),
        (HealthConfig(timeout=-5), "Timeout in Healthcheck cannot be less than 1ms"),
        (HealthConfig(start_period=999_999), "StartPeriod in Healthcheck cannot be less than 1ms"),
        (HealthConfig(start_interval=1), "StartInterval in Healthcheck cannot be less than 1ms"),
        (HealthConfig(retries=-1), "Retries in Healthcheck cannot be negative"),
    ],
)
def test_figures_that_cannot_be_meant(check: HealthConfig, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{text}$"):
        check_health_config(check)


def test_the_start_interval_holds_within_the_start_period_until_the_first_success() -> None:
    starting, healthy = HealthStatus.STARTING, HealthStatus.HEALTHY
    assert next_interval_ns(PLAN, starting, since_start_ns=0) == 5 * SECOND
    assert next_interval_ns(PLAN, starting, since_start_ns=60 * SECOND) == 30 * SECOND
    assert next_interval_ns(PLAN, healthy, since_start_ns=0) == 30 * SECOND
    without = PLAN._replace(start_period_ns=0)
    assert next_interval_ns(without, starting, since_start_ns=0) == 30 * SECOND


def test_failures_in_the_start_period_do_not_count() -> None:
    health = HealthRecord()
    assert not apply_result(PLAN, health, answer(1, 59 * SECOND), started_ns=0)
    assert (health.status, health.failing_streak) == (HealthStatus.STARTING, 0)
    assert apply_result(PLAN, health, answer(1, 60 * SECOND), started_ns=0)
    assert (health.status, health.failing_streak) == (HealthStatus.STARTING, 1)


def looks(plan: HealthPlan, number: int) -> list[float]:
    """Return the seconds after the start at which the first probes come, if they take no time."""
    found, at_ns = list[float](), 0
    for _ in range(number):
        at_ns += next_interval_ns(plan, HealthStatus.STARTING, since_start_ns=at_ns)
        found.append(at_ns / SECOND)
    return found


def test_without_a_start_interval_probes_begin_at_once_and_back_off() -> None:
    early = PLAN._replace(start_period_ns=0, looks_early=True)
    assert looks(early, 11) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 60]
    # Within a start period Docker looks every five seconds.
    period = PLAN._replace(start_period_ns=12 * SECOND, looks_early=True)
    assert looks(period, 10) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 10, 15, 45]
    # Never more seldom than the interval says, and never faster than a tenth of a second.
    assert looks(early._replace(interval_ns=SECOND), 6) == [0.1, 0.2, 0.4, 0.8, 1, 2]
    assert looks(period._replace(interval_ns=SECOND), 7) == [0.1, 0.2, 0.4, 0.8, 1.6, 2.6, 3.6]
    assert looks(early._replace(interval_ns=SECOND // 20), 2) == [0.05, 0.1]
    assert next_interval_ns(early, HealthStatus.HEALTHY, since_start_ns=0) == 30 * SECOND


@pytest.mark.parametrize(("period_s", "counts_from_s"), [(0, 30), (2, 5), (60, 60)])
def test_early_failures_never_count(period_s: int, counts_from_s: int) -> None:
    plan = PLAN._replace(start_period_ns=period_s * SECOND, looks_early=True)
    health = HealthRecord()
    for at_ns in (SECOND // 10, SECOND, counts_from_s * SECOND - 1):
        assert not apply_result(plan, health, answer(1, at_ns), started_ns=0)
    assert apply_result(plan, health, answer(1, counts_from_s * SECOND), started_ns=0)
    assert (health.status, health.failing_streak) == (HealthStatus.STARTING, 1)
    # A success counts at once, and what fails after it, too.
    health = HealthRecord()
    assert apply_result(plan, health, answer(0, SECOND // 10), started_ns=0)
    assert health.status is HealthStatus.HEALTHY
    assert apply_result(plan, health, answer(1, SECOND), started_ns=0)


def test_after_a_success_failures_count_in_the_start_period_too() -> None:
    health = HealthRecord()
    apply_result(PLAN, health, answer(0), started_ns=0)
    for streak in (1, 2, 3):
        assert health.status is HealthStatus.HEALTHY
        assert apply_result(PLAN, health, answer(-1, SECOND), started_ns=0)
        assert health.failing_streak == streak
    assert health.status is HealthStatus.UNHEALTHY
    assert apply_result(PLAN, health, answer(0, SECOND), started_ns=0)
    assert (health.status, health.failing_streak) == (HealthStatus.HEALTHY, 0)
    assert not apply_result(PLAN, health, answer(0, SECOND), started_ns=0)


def test_five_results_are_kept_through_a_restart() -> None:
    health = HealthRecord()
    for number in range(7):
        apply_result(PLAN, health, answer(number % 2, number, str(number)), started_ns=0)
    assert [item.output for item in show_health(health).log] == ["2", "3", "4", "5", "6"]
    again = begin_health(config("CMD", "true"), health)
    assert again is not None
    assert (again.status, again.failing_streak, len(again.log)) == (HealthStatus.STARTING, 0, 5)
    assert begin_health(config("NONE"), health) is None


def test_words() -> None:
    assert health_words(HealthRecord()) == "health: starting"
    assert health_words(HealthRecord(status=HealthStatus.UNHEALTHY)) == "unhealthy"
    assert timeout_text(PLAN, b"") == "Health check exceeded timeout (1.5s)"
    assert timeout_text(PLAN, b"half\n") == "Health check exceeded timeout (1.5s): half\n"
    assert cut_output(b"x" * 4096) == "x" * 4096
    assert cut_output(b"x" * 4097) == "x" * 4096 + "..."
    assert cut_output(b"\xff") == "\ufffd"


def test_frames_are_joined_and_one_that_is_cut_gives_what_it_has() -> None:
    raw = b"\x01\0\0\0\0\0\0\x02ab\x02\0\0\0\0\0\0\x03cde"
    assert payloads(raw) == b"abcde"
    assert payloads(raw[:-2]) == b"abc"
    assert payloads(raw[:-4]) == b"ab"
