"""libseccomp through ctypes, used the way runc uses it: the judge of our compiler."""

import ctypes  # noqa: TID251 - only to ask the judge
import os

from kedge.oci.runtime_spec_seccomp import Seccomp, SeccompRule
from kedge.runtime.seccomp.actions import return_value

NAME = "libseccomp.so.2"
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
TOKENS = {
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_ARM": 0x40000028,
}
_EEXIST = 17


class _Condition(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def _load() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(NAME)
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    return library


LIBRARY = _load()


def resolve(token: int, name: str) -> int:
    """Return libseccomp's number; negative when the architecture has none."""
    assert LIBRARY is not None
    return int(LIBRARY.seccomp_syscall_resolve_name_arch(token, name.encode()))


def compile_with_libseccomp(profile: Seccomp) -> bytes:
    """Return libseccomp's program for ``profile``, on an x86_64 machine."""
    assert LIBRARY is not None
    default = return_value(profile.default_action, profile.default_errno_ret)
    context = ctypes.c_void_p(LIBRARY.seccomp_init(ctypes.c_uint32(default)))
    assert context.value
    try:
        for name in profile.architectures:
            result = LIBRARY.seccomp_arch_add(context, ctypes.c_uint32(TOKENS[name]))
            assert result in {0, -_EEXIST}, result
        for rule in profile.syscalls:
            answer = return_value(rule.action, rule.errno_ret)
            if answer != default:
                for name in rule.names:
                    _add(context, rule, name, answer)
        return _export(context)
    finally:
        LIBRARY.seccomp_release(context)


def _add(context: ctypes.c_void_p, rule: SeccompRule, name: str, answer: int) -> None:
    assert LIBRARY is not None
    number = resolve(TOKENS["SCMP_ARCH_X86_64"], name)
    if number == -1:
        return
    conditions = [
        _Condition(item.register, _OPERATORS[item.op], item.value, item.value_two)
        for item in rule.args
    ]
    registers = [item.register for item in rule.args]
    groups = [conditions]
    if len(set(registers)) < len(registers):
        groups = [[condition] for condition in conditions]
    for group in groups:
        array = (_Condition * len(group))(*group)
        result = LIBRARY.seccomp_rule_add_array(
            context, ctypes.c_uint32(answer), ctypes.c_int(number), len(group), array
        )
        assert result in {0, -_EEXIST}, (name, result)


def _export(context: ctypes.c_void_p) -> bytes:
    assert LIBRARY is not None
    descriptor = os.memfd_create("seccomp")
    try:
        assert LIBRARY.seccomp_export_bpf(context, descriptor) == 0
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)
