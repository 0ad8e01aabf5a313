"""What a filter returns: the kernel's numbers for the specification's actions and flags."""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.oci.runtime_spec_seccomp import Seccomp


EPERM: Final = 1
ENOSYS: Final = 38

# include/uapi/linux/seccomp.h
RET_KILL_THREAD: Final = 0x0000_0000
RET_ERRNO: Final = 0x0005_0000
_RET: Final = {
    "SCMP_ACT_KILL": RET_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": 0x8000_0000,
    "SCMP_ACT_TRAP": 0x0003_0000,
    "SCMP_ACT_ERRNO": RET_ERRNO,
    "SCMP_ACT_NOTIFY": 0x7FC0_0000,
    "SCMP_ACT_TRACE": 0x7FF0_0000,
    "SCMP_ACT_LOG": 0x7FFC_0000,
    "SCMP_ACT_ALLOW": 0x7FFF_0000,
}
_FLAGS: Final = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
_TSYNC: Final = 1 << 0
_NEW_LISTENER: Final = 1 << 3
_TSYNC_ESRCH: Final = 1 << 4
_WITH_DATA: Final = frozenset({"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"})
_PERMISSIVE: Final = frozenset({"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"})
_DATA_MAX: Final = 0xFFFF


def return_value(action: str, errno_ret: int | None) -> int:
    """Return the filter's answer for ``action``.

    Raises:
        InvalidParameterError: ``errno_ret`` does not fit the action.
    """
    value = _RET[action]
    if action not in _WITH_DATA:
        if errno_ret is not None:
            raise InvalidParameterError(f"seccomp: {action} takes no errnoRet")
        return value
    data = EPERM if errno_ret is None else errno_ret
    if data > _DATA_MAX:
        raise InvalidParameterError(f"seccomp: errnoRet {data} is larger than {_DATA_MAX}")
    return value | data


def answers_unknown_with_enosys(profile: Seccomp) -> bool:
    """Tell whether calls newer than anything in ``profile`` must fail with ENOSYS.

    A C library asks for a new call and falls back to an old one only on ENOSYS; EPERM makes it give
    up. So runc, and with it every Docker profile, answers ENOSYS beyond the highest number a
    profile names, unless the default lets calls through or is ENOSYS anyway.
    """
    if profile.default_action in _PERMISSIVE:
        return False
    return profile.default_errno_ret != ENOSYS


def filter_flags(profile: Seccomp) -> int:
    """Return the ``seccomp(2)`` flags for loading the profile's program.

    Without flags of its own a profile gets SPEC_ALLOW, as runc gives it: before Linux 5.16 every
    filtered process would otherwise run with the costly speculation mitigations.
    """
    flags = 0
    for name in profile.flags or ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",):
        flags |= _FLAGS[name]
    if "SCMP_ACT_NOTIFY" not in {profile.default_action, *(r.action for r in profile.syscalls)}:
        return flags
    # The kernel takes both only if a thread that cannot follow is an error and not the result.
    return flags | _NEW_LISTENER | (_TSYNC_ESRCH if flags & _TSYNC else 0)
