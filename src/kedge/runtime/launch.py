"""Becoming the container's program: the last steps before `execve`, for init and for exec alike.

The order is forced by the kernel. Everything that needs privileges of the host comes first.
Changing user ids clears the permitted set unless asked not to, clears the parent-death signal and
the dumpable flag, so those follow it. A seccomp filter may forbid any later step: with
no-new-privileges it is loaded with nothing but `execve` to follow; without, loading needs
CAP_SYS_ADMIN, so that capability is kept until then and one `capset` follows as well.
"""

from __future__ import annotations

import errno
import os

from kedge.errdefs import (
    ForbiddenError,
    InvalidParameterError,
    NotFoundError,
    SystemFailureError,
)
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import capabilities as caps
from kedge.linux import prctl, process
from kedge.linux.seccomp import FILTER_FLAG_NEW_LISTENER, set_filter
from kedge.linux.signals import SIGKILL
from kedge.oci.runtime_spec.types import (
    Capabilities,
    ConsoleSize,
    IoPriority,
    Personality,
    Process,
    Scheduler,
    User,
)
from kedge.runtime.failures import reason, refusal
from kedge.runtime.limits import Limit, raise_hard_limits, set_limits, set_oom_score
from kedge.runtime.program import find_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, NoReturn

    from kedge.runtime.scheduling import PlannedPolicy


DEFAULT_UMASK: Final = 0o022


class CapabilityMasks(NamedTuple):
    """The five sets as bit masks; the bounding set as what to remove from the present one."""

    bounding_drop: int = 0
    effective: int = 0
    inheritable: int = 0
    permitted: int = 0
    ambient: int = 0


class Launch(NamedTuple):
    """A process as far as it can be computed before the fork."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: User
    terminal: bool
    console_size: ConsoleSize | None
    masks: CapabilityMasks
    limits: tuple[Limit, ...]
    no_new_privileges: bool
    oom_score_adj: int | None
    apparmor_profile: str
    seccomp: bytes
    seccomp_flags: int
    keyring: str
    die_with_parent: bool
    preserve_fds: int
    scheduler: Scheduler | None
    io_priority: IoPriority | None
    personality: Personality | None
    memory_policy: PlannedPolicy | None


def plan_capabilities(process_: Process, *, in_user_namespace: bool) -> CapabilityMasks:
    """Return the sets this host can grant; names it cannot grant are left out, as the spec says.

    A process in a new user namespace has every capability there, whatever the host has.
    """
    asked = process_.capabilities or Capabilities()
    granted = _granted_by_host()
    bound = granted.bounding
    available = granted.permitted & bound
    if in_user_namespace:
        available = bound = (1 << granted.number) - 1
    inheritable = _mask(asked.inheritable) & available
    permitted = _mask(asked.permitted) & available
    return CapabilityMasks(
        bounding_drop=bound & ~_mask(asked.bounding),
        effective=_mask(asked.effective) & permitted,
        inheritable=inheritable,
        permitted=permitted,
        ambient=_mask(asked.ambient) & permitted & inheritable,
    )


def ungranted(process_: Process, *, in_user_namespace: bool) -> tuple[str, ...]:
    """Return the names of capabilities that are asked for and left out, in order."""
    asked = process_.capabilities or Capabilities()
    granted = _granted_by_host()
    available = granted.permitted & granted.bounding
    if in_user_namespace:
        available = (1 << granted.number) - 1
    names = {name for each in asked for name in each}
    return tuple(sorted(name for name in names if not _mask((name,)) & available))


def _mask(names: tuple[str, ...]) -> int:
    return caps.mask_of(name for name in names if name in caps.NUMBERS)


class _Granted(NamedTuple):
    permitted: int
    bounding: int
    number: int


_granted: list[_Granted] = []


def _granted_by_host() -> _Granted:
    """Return what this process may give away, asked once: forty system calls, same answer."""
    if not _granted:
        _granted.append(
            _Granted(
                caps.get_capabilities().permitted, caps.get_bounding(), caps.last_capability() + 1
            )
        )
    return _granted[0]


def take_host_rights(launch: Launch) -> None:
    """Do what needs the host's privileges or its /proc, before any namespace is entered."""
    raise_hard_limits(launch.limits)
    set_oom_score(launch.oom_score_adj)
    wishes = (launch.scheduler, launch.io_priority, launch.personality, launch.memory_policy)
    if wishes != (None, None, None, None):
        from kedge.runtime import scheduling  # noqa: PLC0415 - loaded (`kedge.runtime.plan`)

        scheduling.apply_scheduler(launch.scheduler)
        scheduling.apply_io_priority(launch.io_priority)
        scheduling.apply_personality(launch.personality)
        scheduling.apply_memory_policy(launch.memory_policy)


def start_keyring(name: str) -> None:
    """Start the container's session keyring, so that the host's is out of reach."""
    try:
        process.let_user_search(process.join_session_keyring(name))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise refusal("cannot start a session keyring", error) from error


def join_keyring(name: str) -> None:
    """Join the container's session keyring, where the kernel has such a thing."""
    try:
        process.join_session_keyring(name)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise refusal("cannot join a session keyring", error) from error


def enter_directory(path: str) -> bool:
    """Change to ``path``; return False when only the container's user may be allowed to.

    Raises:
        KedgeError: It is missing, or it leads out of the container's root.
    """
    try:
        os.chdir(path)
        # A leaked directory of the host (CVE-2024-21626) is unreachable from our root.
        inside = os.getcwd().startswith("/")
    except PermissionError:
        return False
    except OSError as error:
        raise NotFoundError(
            f'chdir to cwd ("{path}") set in config.json failed: {reason(error)}'
        ) from error
    if not inside:
        raise ForbiddenError(f'cwd "{path}" is outside of the container\'s root')
    return True


def _label_next_exec(profile: str, proc_fd: int) -> None:
    for name in ("self/attr/apparmor/exec", "self/attr/exec"):
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc_fd)
        except OSError:
            continue
        try:
            os.write(fd, f"exec {profile}".encode())
        except OSError as error:
            raise refusal(f"cannot apply the AppArmor profile {profile}", error) from error
        finally:
            os.close(fd)
        return
    raise SystemFailureError(f"cannot apply the AppArmor profile {profile}: no attribute file")


def _change_user(launch: Launch, *, keep: int) -> None:
    masks, user = launch.masks, launch.user
    caps.drop_bounding(masks.bounding_drop)
    os.umask(DEFAULT_UMASK if user.umask is None else user.umask)
    try:
        os.setgroups(user.additional_gids)
    except PermissionError:
        # Refused for an unprivileged user namespace; nothing to add is then nothing lost.
        if user.additional_gids:
            raise
    prctl.set_keep_capabilities(enabled=True)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    prctl.set_keep_capabilities(enabled=False)
    caps.set_capabilities(
        caps.CapabilitySets(
            effective=masks.effective | keep,
            permitted=masks.permitted | keep,
            inheritable=masks.inheritable,
        )
    )
    caps.set_ambient(masks.ambient)


def become(
    launch: Launch,
    environment: tuple[str, ...],
    proc_fd: int,
    hand_over: Callable[[int], None],
) -> NoReturn:
    """Drop privileges and execute the program.

    Args:
        launch: What to execute, and as whom.
        environment: Its variables, complete.
        proc_fd: The host's /proc.
        hand_over: Takes the listener of a filter that has one. The filter is in force by then,
            and lets it be sent (`kedge.runtime.seccomp_agent`).

    Raises:
        KedgeError: Why it did not work.
    """
    if not launch.args:
        raise InvalidParameterError("process.args is empty: there is nothing to run")
    entered = enter_directory(launch.cwd)
    if launch.apparmor_profile:
        _label_next_exec(launch.apparmor_profile, proc_fd)
    if launch.no_new_privileges:
        prctl.set_no_new_privileges()
    keep = caps.SYS_ADMIN if launch.seccomp and not launch.no_new_privileges else 0
    _change_user(launch, keep=keep)
    if launch.die_with_parent:
        prctl.set_parent_death_signal(SIGKILL)
    if not entered and not enter_directory(launch.cwd):
        raise ForbiddenError(
            f'chdir to cwd ("{launch.cwd}") set in config.json failed: permission denied'
        )
    path = find_program(launch.args[0], environment)
    set_limits(launch.limits)
    process.set_cloexec_from(3 + launch.preserve_fds)
    if launch.seccomp:
        listener = set_filter(launch.seccomp, launch.seccomp_flags)
        if launch.seccomp_flags & FILTER_FLAG_NEW_LISTENER:
            hand_over(listener)
    if keep:
        masks = launch.masks
        caps.set_capabilities(
            caps.CapabilitySets(masks.effective, masks.permitted, masks.inheritable)
        )
    try:
        process.execve(path, launch.args, environment)
    except OSError as error:
        kind = NotFoundError if error.errno == errno.ENOENT else ForbiddenError
        raise kind(f"exec {path}: {reason(error)}") from error
    raise SystemFailureError(f"exec {path} returned")
