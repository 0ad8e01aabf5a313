"""``linux.seccomp`` of the OCI runtime specification as plain values.

Actions, operators, architectures and flags keep the specification's names (``SCMP_ACT_ERRNO``);
`kedge.runtime.seccomp` gives them their kernel numbers.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.oci.fields import (
    UINT32_MAX,
    UINT64_MAX,
    optional_integer,
    optional_string,
    read_list,
    read_object,
    read_string_item,
    require_integer,
    require_string,
)

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject


ACTIONS: Final = frozenset(
    {
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
    }
)
OPERATORS: Final = frozenset(
    {
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    }
)
FLAGS: Final = frozenset(
    {
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
)


class SeccompArgument(NamedTuple):
    """One condition on one argument register."""

    register: int
    """0 to 5."""
    value: int
    """The datum; for ``SCMP_CMP_MASKED_EQ`` the mask."""
    value_two: int
    """For ``SCMP_CMP_MASKED_EQ`` what the masked argument must equal; otherwise unused."""
    op: str


class SeccompRule(NamedTuple):
    """``linux.seccomp.syscalls[]``: an action for calls that meet every condition."""

    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SeccompArgument, ...] = ()


class Seccomp(NamedTuple):
    """``linux.seccomp``."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    """``SCMP_ARCH_*``; empty means the machine's own."""
    flags: tuple[str, ...] = ()
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[SeccompRule, ...] = ()


def parse_seccomp(document: JsonObject, path: str = "linux.seccomp") -> Seccomp:
    """Return the checked form of ``document``.

    Args:
        document: The decoded ``linux.seccomp`` object.
        path: Where it stands in the whole document, for messages.

    Raises:
        InvalidParameterError: A value has the wrong type, or a name is not the specification's.
    """
    flags = read_list(document, "flags", path, read_string_item)
    for index, flag in enumerate(flags):
        if flag not in FLAGS:
            raise InvalidParameterError(f"{path}.flags[{index}]: unknown flag {flag!r}")
    listener_path = optional_string(document, "listenerPath", path) or ""
    listener_metadata = optional_string(document, "listenerMetadata", path) or ""
    if listener_metadata and not listener_path:
        raise InvalidParameterError(f"{path}.listenerMetadata needs {path}.listenerPath")
    return Seccomp(
        default_action=_read_action(document, "defaultAction", path),
        default_errno_ret=optional_integer(
            document, "defaultErrnoRet", path, low=0, high=UINT32_MAX
        ),
        architectures=read_list(document, "architectures", path, read_string_item),
        flags=flags,
        listener_path=listener_path,
        listener_metadata=listener_metadata,
        syscalls=read_list(document, "syscalls", path, _parse_rule),
    )


def _read_action(document: JsonObject, key: str, path: str) -> str:
    action = require_string(document, key, path)
    if action not in ACTIONS:
        raise InvalidParameterError(f"{path}.{key}: unknown action {action!r}")
    return action


def _parse_rule(value: Json, path: str) -> SeccompRule:
    document = read_object(value, path)
    names = read_list(document, "names", path, read_string_item)
    if not names:
        raise InvalidParameterError(f"{path}.names must name at least one system call")
    return SeccompRule(
        names=names,
        action=_read_action(document, "action", path),
        errno_ret=optional_integer(document, "errnoRet", path, low=0, high=UINT32_MAX),
        args=read_list(document, "args", path, _parse_argument),
    )


def _parse_argument(value: Json, path: str) -> SeccompArgument:
    document = read_object(value, path)
    op = require_string(document, "op", path)
    if op not in OPERATORS:
        raise InvalidParameterError(f"{path}.op: unknown operator {op!r}")
    return SeccompArgument(
        register=require_integer(document, "index", path, low=0, high=5),
        value=require_integer(document, "value", path, low=0, high=UINT64_MAX),
        value_two=optional_integer(document, "valueTwo", path, low=0, high=UINT64_MAX) or 0,
        op=op,
    )
