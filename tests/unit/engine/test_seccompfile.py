import json

import pytest

from kedge.engine.seccompfile import Circumstances, convert_profile, parse_profile
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import JsonObject

HERE = Circumstances(machine="x86_64", kernel=(6, 1), capabilities=("CAP_CHOWN",))
ALLOW = "SCMP_ACT_ALLOW"


def names(**conditions: JsonObject) -> list[str]:
    rule: JsonObject = {"names": ["chown"], "action": ALLOW, **conditions}
    converted = convert_profile({"defaultAction": ALLOW, "syscalls": [rule]}, HERE)
    rules = converted["syscalls"]
    assert isinstance(rules, list)
    return [str(item) for item in rules]


@pytest.mark.parametrize(
    "condition",
    [
        {"includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"excludes": {"caps": ["CAP_CHOWN"]}},
        {"includes": {"arches": ["arm64"]}},
        {"excludes": {"arches": ["amd64"]}},
        {"includes": {"minKernel": "6.2"}},
        {"excludes": {"minKernel": "6.1"}},
    ],
)
def test_a_rule_whose_condition_fails_is_left_out(condition: dict[str, JsonObject]) -> None:
    assert names(**condition) == []


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"includes": {"caps": ["CAP_CHOWN"], "arches": ["amd64", "arm64"], "minKernel": "4.8"}},
        {"excludes": {"caps": ["CAP_SYS_ADMIN"], "minKernel": "6.2"}},
    ],
)
def test_a_rule_whose_conditions_hold_is_kept(condition: dict[str, JsonObject]) -> None:
    assert len(names(**condition)) == 1


def test_the_map_of_architectures() -> None:
    profile: JsonObject = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        ],
        "syscalls": [{"name": "read", "action": ALLOW, "args": [{"index": 0}], "comment": "x"}],
    }
    assert convert_profile(profile, HERE) == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["read"], "action": ALLOW, "args": [{"index": 0}]}],
    }


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("{", "decoding seccomp profile failed"),
        ("[]", "no defaultAction"),
        ("{}", "no defaultAction"),
        (json.dumps({"defaultAction": ALLOW, "syscalls": [1]}), "not an object"),
        (
            json.dumps({"defaultAction": ALLOW, "architectures": ["x"], "archMap": [1]}),
            "use either 'architectures' or 'archMap'",
        ),
        (
            json.dumps({"defaultAction": ALLOW, "syscalls": [{"name": "a", "names": ["b"]}]}),
            "use either 'name' or 'names'",
        ),
    ],
)
def test_broken_profiles(document: str, text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        parse_profile(document)
