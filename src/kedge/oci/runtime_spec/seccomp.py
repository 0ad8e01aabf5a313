"""Parsing `linux.seccomp`."""

from typing import Final

from kedge.oci.runtime_spec.fields import UINT32, UINT64, Fields
from kedge.oci.runtime_spec.types import Seccomp, SeccompArg, SeccompRule

ACTIONS: Final = frozenset(
    f"SCMP_ACT_{name}"
    for name in (
        "KILL",
        "KILL_PROCESS",
        "KILL_THREAD",
        "TRAP",
        "ERRNO",
        "TRACE",
        "ALLOW",
        "LOG",
        "NOTIFY",
    )
)
OPERATORS: Final = frozenset(
    f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
)
FLAGS: Final = frozenset(
    f"SECCOMP_FILTER_FLAG_{name}" for name in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV")
)
ARCHITECTURES: Final = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        "X86",
        "X86_64",
        "X32",
        "ARM",
        "AARCH64",
        "LOONGARCH64",
        "M68K",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC",
        "PPC64",
        "PPC64LE",
        "S390",
        "S390X",
        "SH",
        "SHEB",
        "PARISC",
        "PARISC64",
        "RISCV64",
    )
)


def _arg(fields: Fields) -> SeccompArg:
    return SeccompArg(
        index=fields.integer("index", UINT32, None),
        value=fields.integer("value", UINT64, None),
        op=fields.choice("op", OPERATORS),
        value_two=fields.integer("valueTwo", UINT64),
    )


def _rule(fields: Fields) -> SeccompRule:
    names = fields.strings("names")
    if not names:
        raise fields.missing("names")
    return SeccompRule(
        names=names,
        action=fields.choice("action", ACTIONS),
        errno_ret=fields.optional_integer("errnoRet", UINT32),
        args=fields.array("args", _arg),
    )


def parse_seccomp(fields: Fields) -> Seccomp:
    """Return the rules in a ``linux.seccomp`` object."""
    return Seccomp(
        default_action=fields.choice("defaultAction", ACTIONS),
        default_errno_ret=fields.optional_integer("defaultErrnoRet", UINT32),
        architectures=fields.choices("architectures", ARCHITECTURES),
        flags=fields.choices("flags", FLAGS),
        listener_path=fields.string("listenerPath"),
        listener_metadata=fields.string("listenerMetadata"),
        syscalls=fields.array("syscalls", _rule),
    )
