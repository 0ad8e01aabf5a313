"""The system calls a container may make, tried from inside one by one.

The lists are facts about Docker's default profile with Docker's default capabilities on x86_64.
"""

import errno
import os

import pytest

from kedge.runtime.seccomp.architectures import syscall_numbers
from tests.engine import Engine
from tests.integration.isolation.conftest import call_all

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the probe is x86_64 code"),
]

REFUSED = [
    "_sysctl",
    "acct",
    "add_key",
    "afs_syscall",
    "bpf",
    "clock_settime",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "get_mempolicy",
    "getpmsg",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "mbind",
    "migrate_pages",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "putpmsg",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "security",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "sysfs",
    "syslog",
    "tuxcall",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "ustat",
    "vserver",
]
# They end, stop or change the prober, or depend on their arguments and are tried elsewhere.
NOT_TRIED = [
    "alarm",
    "brk",
    "clone",
    "exit",
    "exit_group",
    "fork",
    "munmap",
    "pause",
    "personality",
    "restart_syscall",
    "rt_sigreturn",
    "seccomp",
    "setsid",
    "socket",
    "sync",
    "uprobe",
    "uretprobe",
    "vfork",
    "vhangup",
]
# The kernel itself refuses this one without no-new-privileges.
KERNEL = {"landlock_restrict_self"}
# What CAP_SYS_ADMIN opens again.
ADMINISTRATORS = [
    "bpf",
    "fanotify_init",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "perf_event_open",
    "quotactl",
    "quotactl_fd",
    "setdomainname",
    "sethostname",
    "setns",
    "umount2",
    "unshare",
]


def refused(engine: Engine, *flags: str) -> set[str]:
    names = sorted(set(syscall_numbers("x86_64")) - set(NOT_TRIED))
    found = call_all(engine, names, *flags)
    assert found["close"] == -errno.EBADF
    assert flags or found["clone3"] == -errno.ENOSYS
    return {name for name, result in found.items() if result == -errno.EPERM} - KERNEL


def test_the_default_refuses_what_dockers_profile_refuses(engine: Engine) -> None:
    assert refused(engine) == set(REFUSED)


def test_a_user_namespace_changes_nothing(remapped: Engine) -> None:
    assert refused(remapped) == set(REFUSED)


def test_sys_admin_opens_its_calls(engine: Engine) -> None:
    found = refused(engine, "--cap-add", "SYS_ADMIN")
    assert found & set(ADMINISTRATORS) == set()
    assert {"reboot", "init_module", "keyctl", "io_uring_setup"} <= found
