"""The usual exec without a copy of this process: the same steps as in `kedge.runtime.execute`.

`try_start` writes the steps down for a `kedge.linux.vfork` child. It takes on what most execs are:
no terminal, no user namespace, no special scheduling. Whatever fails is left to the ordinary way,
which tries it again and knows how to say what is wrong.

The child shares this process's memory until it is another program, so nobody in the container may
look into it: this process is made undumpable first, and a container that was given CAP_SYS_PTRACE,
or that shares its processes with another one, goes the ordinary way. The kernel's OOM killer leaves
vfork children alone, so a container short of memory does not cost us ours.
"""

from __future__ import annotations

import os
import stat
import struct
from functools import cache

from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import capabilities as caps
from kedge.linux import prctl, process, vfork
from kedge.linux.seccomp import FILTER_FLAG_NEW_LISTENER
from kedge.linux.signals import COUNT, SIGKILL, SIGSTOP
from kedge.linux.vfork import Script
from kedge.linux.vfork import Syscalls as Call
from kedge.runtime.launch import DEFAULT_UMASK, Launch
from kedge.runtime.program import complete_environment

if TYPE_CHECKING:
    from typing import Final

    from kedge.oci.runtime_spec.types import Spec


_AT_FDCWD: Final = -100
_SIG_SETMASK: Final = 2
_SIGSET: Final = 8
_SIGACTION_SIZE: Final = 32
_JOIN_SESSION_KEYRING: Final = 1
_SET_MODE_FILTER: Final = 1
_PATH_MAX: Final = 4096
_STAT_SIZE: Final = 144
_STAT_MODE: Final = 24
_STAT_RDEV: Final = 40
_NULL_DEVICE: Final = 0x103
_CAPABILITY_VERSION: Final = 0x20080522
_FD_MAX: Final = 0xFFFFFFFF


class Joining(NamedTuple):
    """What of a container a new process joins."""

    pidfd: int
    """Of its first process."""
    flags: int
    """``CLONE_NEW*`` of the namespaces."""
    cgroup_files: tuple[str, ...]
    """Each takes a ``0`` from whoever moves in."""


def is_usual(launch: Launch, spec: Spec) -> bool:
    """Tell whether the quick way has all that ``launch`` asks for, and is safe."""
    namespaces = {each.type: each.path for each in spec.linux.namespaces}
    own = spec.process.capabilities if spec.process is not None else None
    special = (
        launch.terminal,
        launch.limits,
        launch.apparmor_profile,
        launch.preserve_fds,
        launch.scheduler,
        launch.io_priority,
        launch.personality,
        launch.memory_policy,
        launch.seccomp_flags & FILTER_FLAG_NEW_LISTENER,
        not launch.args,
        not any(entry.startswith("HOME=/") for entry in launch.env),
        namespaces.keys() & {"user", "time"},
        namespaces.get("pid", "shared"),
        own is None or "CAP_SYS_PTRACE" in own.bounding,
    )
    return not any(special) and vfork.is_supported()


def try_start(launch: Launch, joining: Joining, fds: tuple[int, int, int]) -> vfork.Started | None:
    """Return the process once it runs the program; None if that has to be tried otherwise.

    The caller has set the pid namespace its children shall be in.

    Args:
        launch: What to run; `is_usual` of it is true.
        joining: Where.
        fds: Its standard streams; -1 is the container's /dev/null.
    """
    if any(0 <= fd < 3 for fd in (*fds, joining.pidfd)):
        return None
    prctl.set_dumpable(enabled=False)
    script = Script()
    script.include(_signals())
    _take_descriptors(script, joining, fds)
    _join(script, launch, joining, fds)
    _enter(script, launch)
    _change_user(script, launch, fds)
    _execute(script, launch)
    previous = process.block_signals()
    try:
        started = script.run()
    except OSError:
        return None
    finally:
        process.restore_signal_mask(previous)
    return started if isinstance(started, vfork.Started) else None


@cache
def _signals() -> Script:
    """Return what gives every signal its default action."""
    script = Script()
    default = script.buffer(_SIGACTION_SIZE)
    for signum in range(1, COUNT):
        if signum not in (SIGKILL, SIGSTOP):
            script.call(Call.rt_sigaction, signum, default, 0, _SIGSET)
    return script


@cache
def _bounding(drop: int) -> Script:
    script = Script()
    for number in range(drop.bit_length()):
        if drop >> number & 1:
            script.call(Call.prctl, caps.PR_CAPBSET_DROP, number)
    return script


def _take_descriptors(script: Script, joining: Joining, fds: tuple[int, int, int]) -> None:
    for target, fd in enumerate(fds):
        if fd >= 0:
            script.expect(target, Call.dup3, fd, target, 0)
    # Only the container's is left open, so every number to come is known.
    if joining.pidfd > 3:
        script.call(Call.close_range, 3, joining.pidfd - 1, 0)
    script.call(Call.close_range, joining.pidfd + 1, _FD_MAX, 0)


def _join(script: Script, launch: Launch, joining: Joining, fds: tuple[int, int, int]) -> None:
    free = 4 if joining.pidfd == 3 else 3
    for path in joining.cgroup_files:
        _write(script, free, path, b"0")
    script.call(Call.setsid)
    if launch.oom_score_adj is not None:
        _write(script, free, "/proc/self/oom_score_adj", b"%d" % launch.oom_score_adj)
    script.call(Call.setns, joining.pidfd, joining.flags)
    script.call(Call.close, joining.pidfd)
    if launch.keyring:
        script.call(Call.keyctl, _JOIN_SESSION_KEYRING, os.fsencode(launch.keyring))
    for target, fd in enumerate(fds):
        if fd >= 0 and _is_anothers(fd, launch.user.uid):
            # Read-only, or owned by nobody the kernel can name here: as it was, then.
            script.attempt(Call.fchown, target, launch.user.uid, -1)


def _write(script: Script, fd: int, path: str, text: bytes) -> None:
    flags = os.O_WRONLY | os.O_CLOEXEC
    script.expect(fd, Call.openat, _AT_FDCWD, os.fsencode(path), flags, 0)
    script.expect(len(text), Call.write, fd, text, len(text))
    script.call(Call.close, fd)


def _is_anothers(fd: int, uid: int) -> bool:
    found = os.fstat(fd)
    is_null = stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL_DEVICE
    return found.st_uid != uid and not is_null


def _enter(script: Script, launch: Launch) -> None:
    script.call(Call.chdir, os.fsencode(launch.cwd))
    # A leaked directory of the host (CVE-2024-21626) is unreachable from the root there.
    path = script.buffer(_PATH_MAX)
    script.call(Call.getcwd, path, _PATH_MAX)
    script.compare(path, 0xFF, ord("/"))
    if launch.no_new_privileges:
        script.call(Call.prctl, prctl.PR_SET_NO_NEW_PRIVS, 1)


def _change_user(script: Script, launch: Launch, fds: tuple[int, int, int]) -> None:
    masks, user = launch.masks, launch.user
    script.include(_bounding(masks.bounding_drop))
    script.call(Call.umask, DEFAULT_UMASK if user.umask is None else user.umask)
    groups = struct.pack(f"={len(user.additional_gids)}I", *user.additional_gids)
    script.call(Call.setgroups, len(user.additional_gids), groups)
    script.call(Call.prctl, prctl.PR_SET_KEEPCAPS, 1)
    script.call(Call.setresgid, user.gid, user.gid, user.gid)
    script.call(Call.setresuid, user.uid, user.uid, user.uid)
    script.call(Call.prctl, prctl.PR_SET_KEEPCAPS, 0)
    _set_capabilities(script, launch, keep=_kept(launch))
    script.call(Call.prctl, caps.PR_CAP_AMBIENT, caps.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(masks.ambient.bit_length()):
        if masks.ambient >> number & 1:
            script.call(Call.prctl, caps.PR_CAP_AMBIENT, caps.PR_CAP_AMBIENT_RAISE, number)
    if launch.die_with_parent:
        script.call(Call.prctl, prctl.PR_SET_PDEATHSIG, SIGKILL)
    for target, fd in enumerate(fds):
        if fd < 0:
            _open_null(script, target)


def _open_null(script: Script, target: int) -> None:
    """Open the container's own, which must be what it is called."""
    script.attempt(Call.close, target)
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NOCTTY
    script.expect(target, Call.openat, _AT_FDCWD, b"/dev/null", flags, 0)
    found = script.buffer(_STAT_SIZE)
    script.call(Call.fstat, target, found)
    script.compare(found + _STAT_MODE, 0xF000, stat.S_IFCHR)
    script.compare(found + _STAT_RDEV, -1, _NULL_DEVICE)


def _kept(launch: Launch) -> int:
    """Return the capability that loading a filter needs, as `kedge.runtime.launch` explains."""
    return caps.SYS_ADMIN if launch.seccomp and not launch.no_new_privileges else 0


def _set_capabilities(script: Script, launch: Launch, *, keep: int) -> None:
    masks = launch.masks
    sets = (masks.effective | keep, masks.permitted | keep, masks.inheritable)
    words = [each >> shift & 0xFFFFFFFF for shift in (0, 32) for each in sets]
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    script.call(Call.capset, header, struct.pack("=6I", *words))


def _execute(script: Script, launch: Launch) -> None:
    environment = complete_environment(launch.env, launch.user.uid)
    script.call(Call.rt_sigprocmask, _SIG_SETMASK, bytes(_SIGSET), 0, _SIGSET)
    if launch.seccomp:
        program = script.keep(launch.seccomp)
        header = struct.pack("=H6xQ", len(launch.seccomp) // 8, program)
        script.call(Call.seccomp, _SET_MODE_FILTER, launch.seccomp_flags, header)
    if _kept(launch):
        _set_capabilities(script, launch, keep=0)
    arguments = script.strings([os.fsencode(each) for each in launch.args])
    variables = script.strings([os.fsencode(each) for each in environment])
    for path in _candidates(launch.args[0], environment):
        script.attempt(Call.execve, os.fsencode(path), arguments, variables)
    script.fail()


def _candidates(name: str, environment: tuple[str, ...]) -> list[str]:
    if "/" in name:
        return [name]
    search = next((entry[5:] for entry in environment if entry.startswith("PATH=")), "")
    return [f"{directory or '.'}/{name}" for directory in search.split(":")] if search else []
