"""Device rules as the program that cgroup v2 runs before a device is opened or made."""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import bpf

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.oci.runtime_spec_resources import DeviceRule

_MASK32: Final = 0xFFFF_FFFF
_IMMEDIATE_MAX: Final = 0x7FFF_FFFF


def build_program(rules: Sequence[DeviceRule]) -> bytes:
    """Return the ``BPF_PROG_TYPE_CGROUP_DEVICE`` program that enforces ``rules``.

    The program holds the accesses still undecided and asks the rules from the last to the first:
    an allowing rule strikes out its accesses and ends with "yes" when none is left, a denying one
    ends with "no" when it names one that is. What no rule names is denied.
    """
    kind, access, scratch, major, minor = 2, 6, 3, 4, 5
    program = [
        bpf.load_word(kind, 1, 0),
        bpf.move_register(access, kind),
        bpf.and_immediate(kind, 0xFFFF),
        bpf.shift_right_immediate(access, 16),
        bpf.load_word(major, 1, 4),
        bpf.load_word(minor, 1, 8),
    ]
    for rule in reversed(rules):
        if rule.type == "a":
            return b"".join([*program, *_verdict(allow=rule.allow)])
        if max(rule.major, rule.minor) > _IMMEDIATE_MAX:
            continue  # beyond any device number of Linux (12 and 20 bits): never matches
        checks = [(kind, bpf.DEVCG_DEV_CHAR if rule.type == "c" else bpf.DEVCG_DEV_BLOCK)]
        checks += [(major, rule.major)] if rule.major >= 0 else []
        checks += [(minor, rule.minor)] if rule.minor >= 0 else []
        body = _decide(rule, access, scratch)
        for position, (register, number) in enumerate(checks):
            skip = len(checks) - position - 1 + len(body)
            program.append(bpf.jump_if_not_equal(register, number, skip))
        program.extend(body)
    return b"".join([*program, *_verdict(allow=False)])


def _decide(rule: DeviceRule, access: int, scratch: int) -> list[bytes]:
    mask = sum(bpf.DEVCG_ACCESS[letter] for letter in set(rule.access))
    verdict = _verdict(allow=rule.allow)
    if rule.allow:
        return [
            bpf.and_immediate(access, ~mask & _MASK32),
            bpf.jump_if_not_equal(access, 0, len(verdict)),
            *verdict,
        ]
    return [
        bpf.move_register(scratch, access),
        bpf.and_immediate(scratch, mask),
        bpf.jump_if_equal(scratch, 0, len(verdict)),
        *verdict,
    ]


def _verdict(*, allow: bool) -> list[bytes]:
    return [bpf.move_immediate(0, int(allow)), bpf.exit_program()]
