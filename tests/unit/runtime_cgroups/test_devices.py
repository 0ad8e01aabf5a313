import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import InvalidParameterError
from kedge.oci.runtime_spec_resources import DeviceRule
from kedge.runtime.cgroups.device_program import build_program
from kedge.runtime.cgroups.devices import (
    DeviceSet,
    allows_everything,
    complete_rules,
    format_access,
    format_key,
    parse_devices_list,
    plan_changes,
    reduce_rules,
)

DENY_ALL = DeviceRule(allow=False)
NUMBERS = st.sampled_from([-1, 1, 2])
RULES = st.lists(
    st.builds(
        DeviceRule,
        allow=st.booleans(),
        type=st.sampled_from("abccc"),
        major=NUMBERS,
        minor=NUMBERS,
        access=st.sampled_from(["r", "w", "m", "rw", "rm", "rwm"]),
    ),
    max_size=7,
)
REQUESTS = [
    (kind, major, minor, access)
    for kind in "bc"
    for major in (1, 2, 3)
    for minor in (1, 2, 3)
    for access in ("r", "w", "m", "rw", "wm", "rwm")
]


def decide(rules: Sequence[DeviceRule], kind: str, major: int, minor: int, access: str) -> bool:
    """The specification's meaning: for every letter, the last rule that names it."""

    def allowed(letter: str) -> bool:
        for rule in reversed(rules):
            if rule.type == "a":
                return rule.allow
            matches = rule.type == kind and rule.major in {-1, major} and rule.minor in {-1, minor}
            if matches and letter in rule.access:
                return rule.allow
        return False

    return all(allowed(letter) for letter in access)


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """A BPF machine with just the instructions `kedge.linux.bpf` encodes."""
    bits = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
    context = struct.pack("<III", bits << 16 | {"b": 1, "c": 2}[kind], major, minor)
    registers = [0] * 11
    code = list(struct.iter_unpack("<BBhi", program))
    position = 0
    while True:
        opcode, packed, offset, immediate = code[position]
        position += 1
        target, source = packed & 15, packed >> 4
        if opcode == 0x61:
            (registers[target],) = struct.unpack_from("<I", context, offset)
        elif opcode == 0xBC:
            registers[target] = registers[source] & 0xFFFF_FFFF
        elif opcode == 0xB4:
            registers[target] = immediate & 0xFFFF_FFFF
        elif opcode == 0x54:
            registers[target] &= immediate & 0xFFFF_FFFF
        elif opcode == 0x74:
            registers[target] >>= immediate
        elif opcode == 0x15:
            position += offset if registers[target] == immediate else 0
        elif opcode == 0x55:
            position += offset if registers[target] != immediate else 0
        else:
            assert opcode == 0x95
            return registers[0] == 1


@given(RULES)
def test_the_program_decides_as_the_rules_say(rules: list[DeviceRule]) -> None:
    program = build_program(rules)
    for request in REQUESTS:
        assert run(program, *request) == decide(rules, *request), request


@given(RULES)
def test_reduced_rules_mean_the_same_for_one_access(rules: list[DeviceRule]) -> None:
    try:
        reduced = reduce_rules(rules)
    except InvalidParameterError:
        return
    for kind, major, minor, access in REQUESTS:
        if len(access) > 1:
            continue
        excepted = any(
            key[0] == kind and key[1] in {-1, major} and key[2] in {-1, minor} and access in letters
            for key, letters in reduced.exceptions.items()
        )
        expected = decide([DENY_ALL, *rules], kind, major, minor, access)
        assert (reduced.default_allow != excepted) == expected


@given(RULES, RULES)
def test_planned_writes_lead_to_the_target(
    before: list[DeviceRule], after: list[DeviceRule]
) -> None:
    try:
        current, target = reduce_rules(before), reduce_rules(after)
    except InvalidParameterError:
        return
    if current.default_allow:
        # The kernel does not show the exceptions of an allow-all list.
        current = DeviceSet(default_allow=True, exceptions={})
    default_allow, exceptions = current.default_allow, dict(current.exceptions)
    for name, line in plan_changes(current, target):
        allow = name == "devices.allow"
        if line == "a":
            default_allow = allow
            exceptions.clear()
            continue
        key_text, letters = line.rsplit(" ", 1)
        ((key, _),) = parse_devices_list(f"{key_text} {letters}").exceptions.items()
        had = exceptions.get(key, frozenset())
        left = had | set(letters) if allow != default_allow else had - set(letters)
        exceptions[key] = left
        if not left:
            del exceptions[key]
    assert (default_allow, exceptions) == (target.default_allow, target.exceptions)


def test_running_devices_are_not_denied_for_a_moment() -> None:
    rules = complete_rules([DeviceRule(allow=True, type="c", major=10, minor=200)])
    writes = plan_changes(reduce_rules(complete_rules([])), reduce_rules(rules))
    assert writes == [("devices.allow", "c 10:200 rwm")]


def test_a_hole_in_a_wildcard_is_refused() -> None:
    rules = [
        DENY_ALL,
        DeviceRule(allow=True, type="c", major=1),
        DeviceRule(allow=False, type="c", major=1, minor=3),
    ]
    with pytest.raises(InvalidParameterError, match=r"except device c 1:3 from c 1:\*"):
        reduce_rules(rules)


def test_every_container_has_null_and_may_not_open_disks() -> None:
    rules = complete_rules(None)
    assert decide(rules, "c", 1, 3, "rwm")
    assert decide(rules, "b", 8, 0, "m")
    assert not decide(rules, "b", 8, 0, "r")
    assert not allows_everything(rules)


def test_a_privileged_container_is_recognised() -> None:
    assert allows_everything(complete_rules([DeviceRule(allow=True)]))
    assert not allows_everything([])
    assert not allows_everything([DeviceRule(allow=True, type="c")])


def test_a_number_no_device_can_have_matches_nothing() -> None:
    program = build_program([DeviceRule(allow=True, type="c", major=0xFFFF_FFFF)])
    assert not run(program, "c", 1, 1, "r")


def test_kernel_lines() -> None:
    assert format_key(("c", 136, -1)) == "c 136:*"
    assert format_access(frozenset("mr")) == "rm"
    listed = parse_devices_list("c 1:3 rwm\nb *:* m\n\n")
    assert listed.exceptions == {("c", 1, 3): frozenset("rwm"), ("b", -1, -1): frozenset("m")}
    assert parse_devices_list("a *:* rwm\n").default_allow
