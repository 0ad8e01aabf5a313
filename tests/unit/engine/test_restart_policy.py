"""Docker's rules of coming back, without a container."""

import signal

import pytest

from kedge.api.types.config import ContainerConfig, HostConfig, RestartPolicy
from kedge.engine.record import ContainerRecord
from kedge.engine.restartpolicy import (
    Exit,
    check_restart_policy,
    comes_back_with_engine,
    ends_policy,
    next_delay_ms,
    refuse_policy_of_removed,
    wants_restart,
)
from kedge.engine.state import Status
from kedge.errdefs import ConflictError, InvalidParameterError

SECOND = 1_000_000_000


def policy(name: str, count: int = 0) -> RestartPolicy:
    return RestartPolicy(name=name, maximum_retry_count=count)


def record(name: str = "box", **fields: object) -> ContainerRecord:
    plain = ContainerRecord(
        id=f"id-{name}", name=name, created_ns=1, image_id="sha256:1", path="sh", args=[],
        config=ContainerConfig(), host_config=HostConfig(),
    )  # fmt: skip
    for key, value in fields.items():
        setattr(plain, key, value)
    return plain


@pytest.mark.parametrize(
    ("name", "count", "text"),
    [
        ("always", 3, "maximum retry count can only be used with 'on-failure'"),
        ("no", -1, "can only be used with 'on-failure' and cannot be negative"),
        ("on-failure", -1, "maximum retry count cannot be negative"),
        ("sometimes", 0, "unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure'"),
    ],
)
def test_what_is_refused(name: str, count: int, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^invalid restart policy: .*{text}"):
        check_restart_policy(policy(name, count), auto_remove=False)


def test_a_container_that_removes_itself_has_no_policy() -> None:
    with pytest.raises(InvalidParameterError, match="'AutoRemove' container with restart policy"):
        check_restart_policy(policy("always"), auto_remove=True)
    host = HostConfig(auto_remove=True)
    with pytest.raises(ConflictError, match="because AutoRemove is enabled"):
        refuse_policy_of_removed(host, policy("always"))
    check_restart_policy(policy("no"), auto_remove=True)
    refuse_policy_of_removed(host, policy("no"))


@pytest.mark.parametrize(
    ("name", "limit", "code", "count", "wanted"),
    [
        ("", 0, 1, 0, False),
        ("no", 0, 1, 0, False),
        ("always", 0, 0, 99, True),
        ("unless-stopped", 0, 0, 99, True),
        ("on-failure", 0, 0, 0, False),
        ("on-failure", 0, 1, 99, True),
        ("on-failure", 2, 1, 1, True),
        ("on-failure", 2, 1, 2, False),
    ],
)
def test_who_is_started_again(
    name: str, limit: int, code: int, count: int, *, wanted: bool
) -> None:
    rule = policy(name, limit)
    assert wants_restart(rule, Exit(code, SECOND, stopped=False), restart_count=count) is wanted
    assert not wants_restart(rule, Exit(code, SECOND, stopped=True), restart_count=count)


def test_the_wait_doubles_up_to_a_minute_and_begins_anew() -> None:
    waits = [next_delay_ms(0, ran_ns=0)]
    for _ in range(11):
        waits.append(next_delay_ms(waits[-1], ran_ns=SECOND))
    assert waits[:4] == [100, 200, 400, 800]
    assert waits[-2:] == [60_000, 60_000]
    assert next_delay_ms(60_000, ran_ns=10 * SECOND) == 100
    assert next_delay_ms(60_000, ran_ns=10 * SECOND - 1) == 60_000


@pytest.mark.parametrize(
    ("name", "status", "stopped", "comes"),
    [
        ("always", Status.EXITED, True, True),
        ("always", Status.CREATED, False, True),
        ("always", Status.RUNNING, False, False),
        ("always", Status.DEAD, False, False),
        ("unless-stopped", Status.EXITED, False, True),
        ("unless-stopped", Status.EXITED, True, False),
        ("on-failure", Status.EXITED, False, False),
        ("", Status.EXITED, False, False),
    ],
)
def test_who_comes_back_with_the_engine(
    name: str, status: Status, *, stopped: bool, comes: bool
) -> None:
    host = HostConfig(restart_policy=policy(name))
    found = record(host_config=host, status=status, stopped_by_user=stopped)
    assert comes_back_with_engine(found) is comes


@pytest.mark.parametrize(
    ("number", "stop_signal", "ends"),
    [
        (signal.SIGKILL, "SIGQUIT", True),
        (signal.SIGQUIT, "SIGQUIT", True),
        (signal.SIGTERM, "SIGQUIT", False),
        (signal.SIGINT, "", True),
        (signal.SIGTERM, "", True),
        (signal.SIGHUP, "", False),
        (signal.SIGUSR1, "", False),
    ],
)
def test_which_signals_end_a_policy(number: int, stop_signal: str, *, ends: bool) -> None:
    assert ends_policy(number, stop_signal) is ends
