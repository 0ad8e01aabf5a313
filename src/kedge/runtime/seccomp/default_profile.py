"""The default seccomp profile: Docker's, with its conditions on capability, machine and kernel.

Rules are data in `_RULES`; `default_seccomp` picks those that hold for one container. A profile is
an allow list: what is not named fails with EPERM, or ENOSYS if it is newer than the list.
"""

from __future__ import annotations

import os

from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.runtime.seccomp.actions import ENOSYS, EPERM
from kedge.runtime.seccomp.default_calls import ALWAYS_ALLOWED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject


_ALLOW: Final = "SCMP_ACT_ALLOW"
_ERRNO: Final = "SCMP_ACT_ERRNO"

# include/linux/socket.h
_AF_ALG: Final = 38
_AF_VSOCK: Final = 40
# include/uapi/linux/personality.h
_PER_LINUX: Final = 0
_PER_LINUX32: Final = 8
_UNAME26: Final = 0x20000
_PERSONALITY_QUERY: Final = 0xFFFF_FFFF
# include/uapi/linux/sched.h: CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
_CLONE_NAMESPACES: Final = 0x7E02_0000

_ARCHITECTURES: Final[dict[str, tuple[str, ...]]] = {
    "amd64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "arm64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class _Rule(NamedTuple):
    """One rule block and when it is part of the profile."""

    names: tuple[str, ...]
    arg: tuple[int, int, str] | None = None
    """Register, value, operator."""
    action: str = _ALLOW
    errno_ret: int | None = None
    with_cap: str = ""
    without_cap: str = ""
    arches: tuple[str, ...] = ()
    min_kernel: tuple[int, int] = (0, 0)


def _calls(text: str, *, with_cap: str = "", arches: tuple[str, ...] = ()) -> _Rule:
    return _Rule(tuple(text.split()), with_cap=with_cap, arches=arches)


_RULES: Final = (
    _Rule(ALWAYS_ALLOWED),
    # Before 4.8 a tracer could change a call after the filter had looked at it.
    _Rule(("process_vm_readv", "process_vm_writev", "ptrace"), min_kernel=(4, 8)),
    # Every family but the kernel's crypto and the hypervisor's sockets, which know no namespace.
    _Rule(("socket",), arg=(0, _AF_ALG, "SCMP_CMP_LT")),
    _Rule(("socket",), arg=(0, _AF_ALG + 1, "SCMP_CMP_EQ")),
    _Rule(("socket",), arg=(0, _AF_VSOCK, "SCMP_CMP_GT")),
    *(
        _Rule(("personality",), arg=(0, value, "SCMP_CMP_EQ"))
        for value in (
            *(_PER_LINUX, _PER_LINUX32, _UNAME26, _UNAME26 | _PER_LINUX32),
            _PERSONALITY_QUERY,
        )
    ),
    _calls(
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
        arches=("arm", "arm64"),
    ),
    _calls("arch_prctl", arches=("amd64", "x32")),
    _calls("modify_ldt", arches=("amd64", "x32", "x86")),
    _calls("open_by_handle_at", with_cap="CAP_DAC_READ_SEARCH"),
    _calls(
        """bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie
        lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount
        open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog
        umount umount2 unshare""",
        with_cap="CAP_SYS_ADMIN",
    ),
    # New processes, but not in new namespaces: a user namespace opens much of the kernel.
    _Rule(
        ("clone",), arg=(0, _CLONE_NAMESPACES, "SCMP_CMP_MASKED_EQ"), without_cap="CAP_SYS_ADMIN"
    ),
    # Its flags are behind a pointer. ENOSYS sends the C library back to clone.
    _Rule(("clone3",), action=_ERRNO, errno_ret=ENOSYS, without_cap="CAP_SYS_ADMIN"),
    _calls("reboot", with_cap="CAP_SYS_BOOT"),
    _calls("chroot", with_cap="CAP_SYS_CHROOT"),
    _calls("delete_module init_module finit_module", with_cap="CAP_SYS_MODULE"),
    _calls("acct", with_cap="CAP_SYS_PACCT"),
    _calls(
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
        with_cap="CAP_SYS_PTRACE",
    ),
    _calls("iopl ioperm", with_cap="CAP_SYS_RAWIO"),
    _calls("settimeofday stime clock_settime clock_settime64", with_cap="CAP_SYS_TIME"),
    _calls("vhangup", with_cap="CAP_SYS_TTY_CONFIG"),
    _calls("get_mempolicy mbind set_mempolicy set_mempolicy_home_node", with_cap="CAP_SYS_NICE"),
    _calls("syslog", with_cap="CAP_SYSLOG"),
    _calls("bpf", with_cap="CAP_BPF"),
    _calls("perf_event_open", with_cap="CAP_PERFMON"),
)
_CAPABILITIES: Final = frozenset(
    name for rule in _RULES for name in (rule.with_cap, rule.without_cap) if name
)


def relevant_capabilities(capabilities: Iterable[str]) -> frozenset[str]:
    """Return those of ``capabilities`` that make a difference to the profile."""
    return _CAPABILITIES.intersection(capabilities)


def default_seccomp(
    capabilities: Iterable[str], architecture: str = "", kernel: str = ""
) -> JsonObject:
    """Return the default profile as ``linux.seccomp`` of a container.

    Args:
        capabilities: The container's bounding set, as ``CAP_CHOWN``.
        architecture: ``amd64`` or ``arm64``; this machine's when left out.
        kernel: Release such as ``6.1.0-18-amd64``; the running one's when left out.

    Raises:
        NotSupportedError: There is no profile for the architecture.
        InvalidParameterError: ``kernel`` is no release.
    """
    machine = os.uname().machine
    name = architecture or _MACHINES.get(machine, machine)
    if name not in _ARCHITECTURES:
        raise NotSupportedError(f"no default seccomp profile for {name}: use --security-opt")
    version = _parse_release(kernel or os.uname().release)
    held = set(capabilities)
    syscalls: list[Json] = [
        _format_rule(rule) for rule in _RULES if _holds(rule, held, name, version)
    ]
    return {
        "defaultAction": _ERRNO,
        "defaultErrnoRet": EPERM,
        "architectures": list(_ARCHITECTURES[name]),
        "syscalls": syscalls,
    }


def _holds(rule: _Rule, held: set[str], architecture: str, version: tuple[int, int]) -> bool:
    if rule.with_cap and rule.with_cap not in held:
        return False
    if rule.without_cap in held:
        return False
    if rule.arches and architecture not in rule.arches:
        return False
    return version >= rule.min_kernel


def _format_rule(rule: _Rule) -> JsonObject:
    formatted: JsonObject = {"names": list(rule.names), "action": rule.action}
    if rule.errno_ret is not None:
        formatted["errnoRet"] = rule.errno_ret
    if rule.arg is not None:
        register, value, op = rule.arg
        formatted["args"] = [{"index": register, "value": value, "op": op}]
    return formatted


def _parse_release(release: str) -> tuple[int, int]:
    words = release.replace("-", ".").split(".")
    if len(words) < 2 or not (words[0].isdigit() and words[1].isdigit()):
        raise InvalidParameterError(f"not a kernel release: {release!r}")
    return int(words[0]), int(words[1])
