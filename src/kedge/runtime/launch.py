"""Becoming the container's program: the last steps before `execve`, for init and for exec alike.

The order is forced by the kernel. Everything that needs privileges of the host comes first.
Changing user ids clears the permitted set unless asked not to, clears the parent-death signal and
the dumpable flag, so those follow it. A seccomp filter may forbid any later step: with
no-new-privileges it is loaded with nothing but `execve` to follow; without, loading needs
CAP_SYS_ADMIN, so that capability is kept until then and one `capset` follows as well.
"""

import errno
import os
import resource
import signal
import stat
from typing import Final, NamedTuple

from kedge.errdefs import (
    ForbiddenError,
    InvalidParameterError,
    KedgeError,
    NotFoundError,
    SystemFailureError,
)
from kedge.linux import capabilities as caps
from kedge.linux import prctl, process, pty
from kedge.oci.runtime_spec.types import Capabilities, ConsoleSize, Process, Rlimit, User
from kedge.runtime.failures import reason, refusal

DEFAULT_UMASK: Final = 0o022
_PASSWD_MAX: Final = 1 << 20

# include/uapi/asm-generic/resource.h; `resource` leaves some of these names out.
_RLIMITS: Final = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
_UNLIMITED: Final = (1 << 64) - 1


class Limit(NamedTuple):
    """A resource limit with its kernel number; -1 is unlimited."""

    name: str
    number: int
    soft: int
    hard: int


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


def plan_limits(rlimits: tuple[Rlimit, ...]) -> tuple[Limit, ...]:
    """Return the limits with their kernel numbers.

    Raises:
        InvalidParameterError: An unknown name, one given twice, or soft above hard.
    """
    found: dict[str, Limit] = {}
    for rlimit in rlimits:
        number = _RLIMITS.get(rlimit.type)
        if number is None:
            raise InvalidParameterError(f"unknown resource limit {rlimit.type}")
        if rlimit.type in found:
            raise InvalidParameterError(f"resource limit {rlimit.type} is given twice")
        if rlimit.soft > rlimit.hard:
            raise InvalidParameterError(
                f"{rlimit.type}: the soft limit {rlimit.soft} is above the hard limit {rlimit.hard}"
            )
        soft, hard = (-1 if value == _UNLIMITED else value for value in (rlimit.soft, rlimit.hard))
        found[rlimit.type] = Limit(rlimit.type, number, soft, hard)
    return tuple(found.values())


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


def raise_hard_limits(limits: tuple[Limit, ...]) -> None:
    """Raise the hard limits that must grow, while this process still has the host's privileges.

    The exact values follow in `become`: a low limit set here would break the steps between.
    """
    for limit in limits:
        soft, hard = resource.getrlimit(limit.number)
        if hard == -1 or (limit.hard != -1 and limit.hard <= hard):
            continue
        try:
            resource.setrlimit(limit.number, (soft, limit.hard))
        except (OSError, ValueError) as error:
            wanted = "unlimited" if limit.hard == -1 else str(limit.hard)
            raise ForbiddenError(
                f"cannot raise the hard limit {limit.name} from {hard} to {wanted}: this host "
                f"does not allow it (CAP_SYS_RESOURCE is missing or the kernel's maximum is lower)"
            ) from error


def set_oom_score(value: int | None) -> None:
    """Set this process's oom_score_adj; children inherit it."""
    if value is None:
        return
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(value))
    except PermissionError as error:
        raise ForbiddenError(
            f"cannot lower oom_score_adj to {value}: CAP_SYS_RESOURCE is missing on this host"
        ) from error


def join_keyring(name: str) -> None:
    """Join the container's session keyring, made if missing, so that the host's is out of reach."""
    try:
        process.join_session_keyring(name)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise refusal("cannot join a session keyring", error) from error


def connect_stdio(fds: tuple[int, int, int], user: User) -> None:
    """Make ``fds`` descriptors 0, 1 and 2; -1 is the container's /dev/null.

    The user becomes the owner of pipes and terminals, so that it may reopen /dev/stdout.
    """
    # A descriptor among 0..2 would be overwritten before it is its turn.
    safe = [os.dup(fd) if 0 <= fd < 3 else fd for fd in fds]
    while any(0 <= fd < 3 for fd in safe):
        safe = [os.dup(fd) if 0 <= fd < 3 else fd for fd in safe]
    null = _open_null() if -1 in safe else -1
    for target, fd in enumerate(safe):
        os.dup2(null if fd == -1 else fd, target)
        found = os.fstat(target)
        if fd != -1 and found.st_uid != user.uid and not _is_null(found):
            try:
                os.fchown(target, user.uid, -1)
            except OSError as error:
                # Read-only, or owned by an id outside this user namespace: as it was, then.
                if error.errno not in (errno.EPERM, errno.EROFS, errno.EINVAL):
                    raise


def _is_null(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)


def _open_null() -> int:
    fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY)
    if not _is_null(os.fstat(fd)):
        raise ForbiddenError("/dev/null in the container is not the null device")
    return fd


def connect_terminal(slave: int, size: ConsoleSize | None, user: User) -> None:
    """Make ``slave`` the controlling terminal and descriptors 0, 1 and 2 of this session."""
    if size is not None:
        pty.set_window_size(slave, rows=min(size.height, 65535), columns=min(size.width, 65535))
    connect_stdio((slave, slave, slave), user)
    pty.set_controlling_terminal(0)


def home_of(uid: int) -> str:
    """Return the home directory of ``uid`` in the container's /etc/passwd, or ``/``."""
    try:
        # The image decides what this is: a FIFO must not block, a device must not be read.
        fd = os.open("/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return "/"
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return "/"
        text = os.read(fd, _PASSWD_MAX).decode(errors="replace")
    finally:
        os.close(fd)
    for line in text.split("\n"):
        parts = line.split(":")
        if len(parts) > 5 and parts[2] == str(uid):
            return parts[5] or "/"
    return "/"


def complete_environment(launch: Launch) -> tuple[str, ...]:
    """Return the environment without repeated names (the last wins) and with ``HOME``."""
    found: dict[str, str] = {}
    for entry in launch.env:
        found[entry.partition("=")[0]] = entry
    if not found.get("HOME", "HOME=")[5:]:
        found["HOME"] = f"HOME={home_of(launch.user.uid)}"
    return tuple(found.values())


def find_program(name: str, environment: tuple[str, ...]) -> str:
    """Return the path of ``name``, searched in ``PATH`` as Go's ``exec.LookPath`` does.

    Raises:
        NotFoundError: With Docker's text, from which its CLI makes exit code 127.
        ForbiddenError: With Docker's text, from which its CLI makes exit code 126.
    """
    if "/" in name:
        return _check_program(name)
    search = next((entry[5:] for entry in environment if entry.startswith("PATH=")), "")
    for directory in search.split(":") if search else ():
        candidate = f"{directory or '.'}/{name}"
        try:
            if os.access(candidate, os.X_OK, effective_ids=True) and not os.path.isdir(candidate):
                return candidate
        except OSError:
            continue
    raise NotFoundError(f'exec: "{name}": executable file not found in $PATH')


def _check_program(name: str) -> str:
    try:
        mode = os.stat(name).st_mode
    except PermissionError as error:
        raise ForbiddenError(f'exec: "{name}": permission denied') from error
    except OSError as error:
        raise NotFoundError(f'exec: "{name}": stat {name}: {reason(error)}') from error
    if stat.S_ISDIR(mode):
        raise ForbiddenError(f'exec: "{name}": is a directory')
    if not os.access(name, os.X_OK, effective_ids=True):
        raise ForbiddenError(f'exec: "{name}": permission denied')
    return name


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


def _set_limits(limits: tuple[Limit, ...]) -> None:
    for limit in limits:
        try:
            resource.setrlimit(limit.number, (limit.soft, limit.hard))
        except (OSError, ValueError) as error:
            raise ForbiddenError(
                f"cannot set {limit.name} to {limit.soft}:{limit.hard}: {error}"
            ) from error


def become(launch: Launch, environment: tuple[str, ...], proc_fd: int) -> KedgeError:
    """Drop privileges and execute the program; return only the reason why it did not work."""
    if not launch.args:
        return InvalidParameterError("process.args is empty: there is nothing to run")
    entered = enter_directory(launch.cwd)
    if launch.apparmor_profile:
        _label_next_exec(launch.apparmor_profile, proc_fd)
    if launch.no_new_privileges:
        prctl.set_no_new_privileges()
    keep = caps.SYS_ADMIN if launch.seccomp and not launch.no_new_privileges else 0
    _change_user(launch, keep=keep)
    if launch.die_with_parent:
        prctl.set_parent_death_signal(signal.SIGKILL)
    if not entered and not enter_directory(launch.cwd):
        return ForbiddenError(
            f'chdir to cwd ("{launch.cwd}") set in config.json failed: permission denied'
        )
    path = find_program(launch.args[0], environment)
    _set_limits(launch.limits)
    process.set_cloexec_from(3 + launch.preserve_fds)
    if keep:
        masks = launch.masks
        caps.set_capabilities(
            caps.CapabilitySets(masks.effective, masks.permitted, masks.inheritable)
        )
    try:
        process.execve(path, launch.args, environment)
    except OSError as error:
        kind = NotFoundError if error.errno == errno.ENOENT else ForbiddenError
        return kind(f"exec {path}: {reason(error)}")
    return SystemFailureError(f"exec {path} returned")
