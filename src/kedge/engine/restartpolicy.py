"""When a container comes back by itself: Docker's restart policies and their back-off. Pure.

`no` (or empty), `always`, `unless-stopped`, `on-failure[:N]`, as in moby ``restartmanager`` and
``api/types/container`` (`ValidateRestartPolicy`). The waits go 100 ms, 200 ms, 400 ms ... up to a
minute, and begin anew once the container has run for ten seconds.
"""

import signal
from enum import StrEnum
from typing import Final, NamedTuple

from kedge.api.types.config import HostConfig, RestartPolicy
from kedge.engine.record import ContainerRecord
from kedge.engine.signals import parse_signal
from kedge.engine.state import Status
from kedge.errdefs import ConflictError, InvalidParameterError

FIRST_DELAY_MS: Final = 100
LONGEST_DELAY_MS: Final = 60_000
_STEADY_NS: Final = 10_000_000_000

# What a program is told with them is something else than to end.
_MERE_NEWS: Final = frozenset(
    {
        signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT,
        signal.SIGSTOP, signal.SIGTSTP, signal.SIGCHLD, signal.SIGURG,
    }
)  # fmt: skip


class Policy(StrEnum):
    """The names a policy may have; an empty one means `NO`."""

    NO = "no"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"
    ON_FAILURE = "on-failure"


class Exit(NamedTuple):
    """What a policy looks at when a container has ended."""

    code: int
    ran_ns: int
    stopped: bool
    """Somebody asked for the end."""


def policy_of(host: HostConfig) -> Policy:
    """Return the policy of a checked configuration."""
    return Policy(host.restart_policy.name or Policy.NO)


def check_restart_policy(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """Raise unless ``policy`` can be kept.

    Raises:
        InvalidParameterError: With Docker's texts.
    """
    count = policy.maximum_retry_count
    match policy.name:
        case Policy.ALWAYS | Policy.UNLESS_STOPPED | Policy.NO if count:
            raise InvalidParameterError(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'"
                + (" and cannot be negative" if count < 0 else "")
            )
        case Policy.ON_FAILURE if count < 0:
            raise InvalidParameterError(
                "invalid restart policy: maximum retry count cannot be negative"
            )
        case "" | Policy.ALWAYS | Policy.UNLESS_STOPPED | Policy.NO | Policy.ON_FAILURE:
            pass
        case _:
            raise InvalidParameterError(
                f"invalid restart policy: unknown policy '{policy.name}'; use one of 'no', "
                "'always', 'on-failure', or 'unless-stopped'"
            )
    if auto_remove and policy.name not in {"", Policy.NO}:
        raise InvalidParameterError("can't create 'AutoRemove' container with restart policy")


def refuse_policy_of_removed(host: HostConfig, policy: RestartPolicy) -> None:
    """Raise when an update gives a policy to a container that removes itself.

    Raises:
        ConflictError: With Docker's text.
    """
    if host.auto_remove and policy.name not in {"", Policy.NO}:
        raise ConflictError(
            "Restart policy cannot be updated because AutoRemove is enabled for the container"
        )


def wants_restart(policy: RestartPolicy, end: Exit, *, restart_count: int) -> bool:
    """Return whether a container that ended like this is started again.

    Args:
        policy: Its policy.
        end: How it ended.
        restart_count: How often the policy has started it since a person did.
    """
    if end.stopped:
        return False
    match policy.name:
        case Policy.ALWAYS | Policy.UNLESS_STOPPED:
            return True
        case Policy.ON_FAILURE:
            limit = policy.maximum_retry_count
            return end.code != 0 and (limit == 0 or restart_count < limit)
        case _:
            return False


def next_delay_ms(previous_ms: int, *, ran_ns: int) -> int:
    """Return how long to wait before the next start.

    Args:
        previous_ms: The wait before this run, 0 for none.
        ran_ns: How long it lasted.
    """
    if previous_ms <= 0 or ran_ns >= _STEADY_NS:
        return FIRST_DELAY_MS
    return min(previous_ms * 2, LONGEST_DELAY_MS)


def comes_back_with_engine(record: ContainerRecord) -> bool:
    """Return whether the start of an engine starts this container, which does not run.

    `always` brings back even what a person stopped, `unless-stopped` does not; that is all that
    tells the two apart. `on-failure` is about the program and not about the engine.
    """
    if record.status not in {Status.CREATED, Status.EXITED}:
        return False
    match policy_of(record.host_config):
        case Policy.ALWAYS:
            return True
        case Policy.UNLESS_STOPPED:
            return not record.stopped_by_user
        case Policy.ON_FAILURE | Policy.NO:
            return False


def ends_policy(number: int, stop_signal: str) -> bool:
    """Return whether ``docker kill`` with this signal means that the container shall stay down.

    # compat: without a stop signal of its own Docker takes any signal for that, so that a container
    # told to read its configuration again (HUP) is not restarted when it fails a week later.
    """
    if number == signal.SIGKILL:
        return True
    if stop_signal:
        return number == parse_signal(stop_signal)
    return number not in _MERE_NEWS
