"""Filters in the real kernel, each in a child that has nothing else to do."""

import errno
import os
import signal
import socket
from collections.abc import Callable

import pytest

from kedge.linux.capabilities import CapabilitySets, set_capabilities
from kedge.linux.libc import LIBC, check
from kedge.linux.prctl import set_no_new_privileges
from kedge.linux.seccomp import FILTER_FLAG_LOG, FILTER_FLAG_SPEC_ALLOW, set_filter
from kedge.oci.runtime_spec_seccomp import Seccomp, SeccompArgument, SeccompRule
from kedge.runtime.seccomp.actions import filter_flags
from kedge.runtime.seccomp.architectures import native_architecture, syscall_numbers
from kedge.runtime.seccomp.cached import compile_profile, default_program

pytestmark = pytest.mark.integration

NOT_A_CALL = 9999
AF_ALG = 38
CLONE_NEWUSER = 0x1000_0000


def in_child(work: Callable[[], str]) -> tuple[str, int]:
    """Run ``work`` in a child; return its answer and its wait status."""
    reader, writer = os.pipe()
    pid = os.fork()  # noqa: TID251 - a filter cannot be taken off again
    if pid == 0:
        try:
            os.write(writer, work().encode())
        except BaseException as error:  # noqa: BLE001 - becomes the answer
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read().decode()
    return answer, os.waitpid(pid, 0)[1]


def call(name: str, *arguments: int) -> str:
    """Make a system call; return ``ok`` or the error's name."""
    number = syscall_numbers(native_architecture().name)[name] if name else NOT_A_CALL
    try:
        check(LIBC.syscall(number, *arguments))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def tries(program: bytes, flags: int, *attempts: Callable[[], str]) -> list[str]:
    def work() -> str:
        set_no_new_privileges()
        set_filter(program, flags)
        return " ".join(attempt() for attempt in attempts)

    answer, status = in_child(work)
    assert status == 0, answer
    return answer.split(" ")


def open_socket(family: int) -> str:
    try:
        socket.socket(family, socket.SOCK_SEQPACKET if family == AF_ALG else socket.SOCK_STREAM)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def test_the_default_profile_lets_programs_work_and_closes_the_rest() -> None:
    answers = tries(
        default_program([]),
        FILTER_FLAG_SPEC_ALLOW,
        lambda: call("getpid"),
        lambda: open_socket(socket.AF_INET),
        lambda: call("unshare", 0),
        lambda: call("chroot", 0),
        lambda: call("io_uring_setup", 0, 0),
        lambda: call("keyctl", 0),
        lambda: open_socket(AF_ALG),
        lambda: call("clone", CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0),
        lambda: call("clone3", 0, 0),
        lambda: call(""),
    )
    assert answers == ["ok", "ok", *["EPERM"] * 6, "ENOSYS", "ENOSYS"]


def test_capabilities_open_their_calls() -> None:
    program = default_program(["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"])
    answers = tries(program, 0, lambda: call("chroot", 0), lambda: call("unshare", 0))
    assert answers == ["EFAULT", "ok"]


def test_arguments_are_looked_at() -> None:
    # getpriority(PRIO_PROCESS=0, 0) and getpriority(PRIO_USER=2, 0)
    rule = SeccompRule(
        ("getpriority",), "SCMP_ACT_ERRNO", 77, (SeccompArgument(0, 2, 0, "SCMP_CMP_GE"),)
    )
    profile = Seccomp("SCMP_ACT_ALLOW", syscalls=(rule,))
    answers = tries(
        compile_profile(profile),
        filter_flags(profile) | FILTER_FLAG_LOG,
        lambda: call("getpriority", 0, 0),
        lambda: call("getpriority", 2, 0),
    )
    assert answers == ["ok", errno.errorcode[77]]


def test_killing_is_killing() -> None:
    rule = SeccompRule(("getppid",), "SCMP_ACT_KILL_PROCESS")
    program = compile_profile(Seccomp("SCMP_ACT_ALLOW", syscalls=(rule,)))

    def work() -> str:
        set_filter(program)
        return call("getppid")

    answer, status = in_child(work)
    assert answer == ""
    assert os.WTERMSIG(status) == signal.SIGSYS


def test_without_privileges_and_no_new_privs_the_kernel_refuses() -> None:
    def work() -> str:
        set_capabilities(CapabilitySets(0, 0, 0))
        try:
            set_filter(default_program([]))
        except OSError as error:
            refused = errno.errorcode[error.errno or 0]
        else:
            return "loaded"
        set_no_new_privileges()
        set_filter(default_program([]))
        return f"{refused} then loaded"

    assert in_child(work) == ("EACCES then loaded", 0)


def test_a_program_the_kernel_does_not_take_is_an_error() -> None:
    def work() -> str:
        set_filter(bytes(8), FILTER_FLAG_SPEC_ALLOW | FILTER_FLAG_LOG)
        return "loaded"

    answer, _ = in_child(work)
    assert "Invalid argument" in answer
