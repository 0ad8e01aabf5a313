import json
import os
from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci.runtime_spec_seccomp import parse_seccomp
from kedge.runtime.seccomp.default_profile import (
    default_seccomp,
    relevant_capabilities,
)

SHARED = Path(os.environ.get("KEDGE_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))
REFERENCE = SHARED / "seccomp-default.json"
DOCKER_14 = [
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW"),
    *("CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE"),
    *("CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"),
]
EVERY = [
    *("CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE"),
    *("CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG"),
    *("CAP_SYS_NICE", "CAP_SYSLOG", "CAP_BPF", "CAP_PERFMON"),
]
Meaning = dict[str, list[tuple[str, int | None, str]]]


def listed(value: Json) -> list[Json]:
    assert isinstance(value, list)
    return value


def as_object(value: Json) -> JsonObject:
    assert isinstance(value, dict)
    return value


def meaning(rules: list[JsonObject]) -> Meaning:
    """Per call, in order: action, errno and conditions of every rule that names it."""
    found: Meaning = {}
    for rule in rules:
        number = rule.get("errnoRet")
        assert number is None or isinstance(number, int)
        entry = (str(rule["action"]), number, json.dumps(rule.get("args") or [], sort_keys=True))
        for name in listed(rule["names"]):
            found.setdefault(str(name), []).append(entry)
    return found


def expand_reference(capabilities: list[str], architecture: str, kernel: str) -> JsonObject:
    """What Docker makes of the file for one container."""
    with REFERENCE.open() as stream:
        document: JsonObject = json.load(stream)

    def matches(conditions: JsonObject, *, including: bool) -> bool:
        arches = listed(conditions.get("arches") or [])
        caps = [str(cap) for cap in listed(conditions.get("caps") or [])]
        minimum = str(conditions.get("minKernel") or "")
        if including:
            recent = not minimum or [*map(int, kernel.split("."))] >= [
                *map(int, minimum.split("."))
            ]
            return (
                (not arches or architecture in arches)
                and set(caps) <= set(capabilities)
                and (recent)
            )
        return architecture in arches or bool(set(caps) & set(capabilities))

    kept: list[Json] = []
    for item in listed(document["syscalls"]):
        rule = as_object(item)
        includes, excludes = (
            as_object(rule.get("includes") or {}),
            as_object(rule.get("excludes") or {}),
        )
        if matches(includes, including=True) and not matches(excludes, including=False):
            kept.append(rule)
    document["syscalls"] = kept
    return document


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} is not here")
@pytest.mark.parametrize("capabilities", [[], DOCKER_14, EVERY, *([cap] for cap in EVERY)])
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
@pytest.mark.parametrize("kernel", ["4.4", "6.18"])
def test_it_is_docker_s_profile(capabilities: list[str], architecture: str, kernel: str) -> None:
    ours = default_seccomp(capabilities, architecture, kernel)
    theirs = expand_reference(capabilities, architecture, kernel)
    assert meaning([as_object(rule) for rule in listed(ours["syscalls"])]) == meaning(
        [as_object(rule) for rule in listed(theirs["syscalls"])]
    )
    for key in ("defaultAction", "defaultErrnoRet"):
        assert ours[key] == theirs[key]
    native = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}[architecture]
    (expected,) = (
        [native, *listed(entry["subArchitectures"])]
        for entry in map(as_object, listed(theirs["archMap"]))
        if entry["architecture"] == native
    )
    assert ours["architectures"] == expected


def test_it_parses_as_linux_seccomp() -> None:
    profile = parse_seccomp(default_seccomp(DOCKER_14))
    assert profile.default_errno_ret == 1
    assert any("chroot" in rule.names for rule in profile.syscalls)


def test_only_some_capabilities_matter() -> None:
    assert relevant_capabilities(DOCKER_14) == {"CAP_SYS_CHROOT"}
    assert relevant_capabilities(EVERY) == set(EVERY)


def test_release_names_of_distributions() -> None:
    for release in ("6.1.0-18-amd64", "6.18-rc1", "5.15.0"):
        names = {
            name
            for rule in parse_seccomp(default_seccomp([], "amd64", release)).syscalls
            for name in rule.names
        }
        assert "ptrace" in names
    with pytest.raises(InvalidParameterError, match="not a kernel release: 'new'"):
        default_seccomp([], "amd64", "new")


def test_a_machine_without_a_table_is_named() -> None:
    with pytest.raises(NotSupportedError, match="no default seccomp profile for s390x"):
        default_seccomp([], "s390x")
