import pytest

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import JsonObject
from kedge.oci.runtime_spec_seccomp import SeccompArgument, parse_seccomp

ALLOW: JsonObject = {"defaultAction": "SCMP_ACT_ALLOW"}


def test_a_profile() -> None:
    profile = parse_seccomp(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 255, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}],
                }
            ],
        }
    )
    assert (profile.default_errno_ret, profile.flags) == (38, ("SECCOMP_FILTER_FLAG_LOG",))
    assert profile.syscalls[0].args == (SeccompArgument(0, 255, 1, "SCMP_CMP_MASKED_EQ"),)
    assert parse_seccomp(ALLOW).syscalls == ()


WRONG: list[tuple[JsonObject, str]] = [
    ({}, r"linux\.seccomp\.defaultAction is required"),
    ({"defaultAction": "ALLOW"}, r"unknown action 'ALLOW'"),
    ({**ALLOW, "flags": ["X"]}, r"flags\[0\]: unknown flag 'X'"),
    ({**ALLOW, "syscalls": [{"action": "SCMP_ACT_LOG"}]}, r"syscalls\[0\]\.names must name"),
    (
        {
            **ALLOW,
            "syscalls": [
                {
                    "names": ["a"],
                    "action": "SCMP_ACT_LOG",
                    "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
        r"syscalls\[0\]\.args\[0\]\.index must be between 0 and 5",
    ),
    (
        {
            **ALLOW,
            "syscalls": [
                {
                    "names": ["a"],
                    "action": "SCMP_ACT_LOG",
                    "args": [{"index": 0, "value": 0, "op": "EQ"}],
                }
            ],
        },
        r"args\[0\]\.op: unknown operator 'EQ'",
    ),
]


@pytest.mark.parametrize(("document", "message"), WRONG)
def test_a_wrong_value_is_named_by_its_path(document: JsonObject, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        parse_seccomp(document)
