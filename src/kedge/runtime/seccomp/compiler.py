"""From a profile to a program: one block per architecture, a binary search over call numbers each.

What a profile means, where the specification leaves room, is what libseccomp under runc makes of
it, so that profiles written for Docker keep their meaning:

* A rule whose answer is the default's adds nothing.
* The first rule without conditions answers for its call, whatever conditional rules stand around
  it. Otherwise the first rule whose conditions all hold answers, then the default.
* Two conditions on one argument in a rule are alternatives; conditions on different ones add up.
* Unknown names are passed over: the profile may be newer or for another architecture.
* A call by an architecture the profile does not list kills the thread.

The kernel (5.11) works out for itself which numbers always get the same answer and skips the
program for them; for the others the search takes seven or eight steps.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.runtime.seccomp import conditions
from kedge.runtime.seccomp.actions import (
    ENOSYS,
    RET_ERRNO,
    RET_KILL_THREAD,
    answers_unknown_with_enosys,
    return_value,
)
from kedge.runtime.seccomp.architectures import (
    ARM,
    FOREIGN,
    KNOWN,
    X32_SYSCALL_BIT,
    X86,
    X86_64,
    Architecture,
    syscall_numbers,
)
from kedge.runtime.seccomp.assembler import JUMP_EQUAL, JUMP_GREATER_EQUAL, Assembler
from kedge.runtime.seccomp.multiplexed import multiplexed_call

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final, TypeAlias

    from kedge.oci.runtime_spec_seccomp import Seccomp, SeccompArgument


_NR_OFFSET: Final = 0
_ARCH_OFFSET: Final = 4
_ARM_PRIVATE_CALLS: Final = 0xF_0000
# A tracer that skips a call sets its number to -1.
_SKIPPED_CALL: Final = 0xFFFF_FFFF


class Case(NamedTuple):
    """An answer that holds when every condition does."""

    arguments: tuple[SeccompArgument, ...]
    answer: int


Answer: TypeAlias = "int | tuple[Case, ...]"
"""A return value, or cases to try before the default."""


class Segment(NamedTuple):
    """What is answered from call number ``start`` up to the next segment."""

    start: int
    answer: Answer


def compile_program(profile: Seccomp, native: Architecture) -> bytes:
    """Return the ``struct sock_filter`` array that enforces ``profile`` on a ``native`` machine.

    Raises:
        InvalidParameterError: The profile names an unknown architecture, combines an action with
            an ``errnoRet`` it cannot have, or is too long for the kernel.
    """
    default = return_value(profile.default_action, profile.default_errno_ret)
    blocks: dict[int, list[Segment]] = {}
    for architecture in _architectures(profile, native):
        segments = _segments(profile, architecture, default)
        blocks.setdefault(architecture.audit_arch, []).extend(segments)
    assembler = Assembler()
    label = assembler.give(RET_KILL_THREAD)
    # The machine's own architecture is asked for first, so it is emitted last.
    for audit_arch in reversed(blocks):
        is_wide = audit_arch in {X86_64.audit_arch, KNOWN["SCMP_ARCH_AARCH64"].audit_arch}
        block = _Block(assembler, default, is_wide=is_wide)
        tree = block.emit(_merge(_complete(audit_arch, blocks[audit_arch], default)))
        start = assembler.load(_NR_OFFSET, tree)
        label = assembler.jump(JUMP_EQUAL, audit_arch, start, label)
    assembler.load(_ARCH_OFFSET, label)
    return assembler.program()


def _architectures(profile: Seccomp, native: Architecture) -> list[Architecture]:
    chosen = [native]
    for name in profile.architectures:
        if name in KNOWN:
            chosen.append(KNOWN[name])
        elif name not in FOREIGN:
            raise InvalidParameterError(f"seccomp: unknown architecture {name!r}")
    return list(dict.fromkeys(chosen))


def _segments(profile: Seccomp, architecture: Architecture, default: int) -> list[Segment]:
    """Return what ``architecture``'s numbers are answered, in ascending order from its first."""
    base = architecture.number_base
    segments = [Segment(base, default)]
    for number, answer in sorted(_answers(profile, architecture, default).items()):
        segments += [Segment(number, answer), Segment(number + 1, default)]
    if not answers_unknown_with_enosys(profile):
        return segments
    numbers = syscall_numbers(architecture.name)
    named = {numbers.get(name, -1) for rule in profile.syscalls for name in rule.names}
    last = max((n for n in named if architecture != ARM or n < _ARM_PRIVATE_CALLS), default=-1)
    if last < 0:
        return segments
    enosys = [Segment(last + 1, RET_ERRNO | ENOSYS)]
    private = [segment for segment in segments if segment.start >= _ARM_PRIVATE_CALLS]
    if architecture == ARM:
        enosys += [Segment(_ARM_PRIVATE_CALLS, default), *private]
    return [segment for segment in segments if segment.start <= last] + enosys


def _answers(profile: Seccomp, architecture: Architecture, default: int) -> dict[int, Answer]:
    numbers = syscall_numbers(architecture.name)
    answers: dict[int, Answer] = {}
    for rule in profile.syscalls:
        value = return_value(rule.action, rule.errno_ret)
        if value == default:
            continue
        for name in rule.names:
            for arguments in _alternatives(rule.args):
                _add(answers, numbers.get(name), Case(arguments, value))
                other = multiplexed_call(name, arguments) if architecture == X86 else None
                if other is not None:
                    door, arguments_there = other
                    _add(answers, numbers[door], Case(arguments_there, value))
    return answers


def _alternatives(
    arguments: tuple[SeccompArgument, ...],
) -> Sequence[tuple[SeccompArgument, ...]]:
    registers = [argument.register for argument in arguments]
    if len(set(registers)) < len(registers):
        return [(argument,) for argument in arguments]
    return [arguments]


def _add(answers: dict[int, Answer], number: int | None, case: Case) -> None:
    if number is None:
        return
    present = answers.get(number, ())
    if isinstance(present, int):
        return
    answers[number] = (*present, case) if case.arguments else case.answer


def _complete(audit_arch: int, segments: list[Segment], default: int) -> list[Segment]:
    """Fill what x86_64 or x32 would leave open of the numbers they share."""
    if audit_arch != X86_64.audit_arch:
        return segments
    segments = sorted(segments, key=lambda segment: segment.start)
    if segments[0].start != 0:
        return [Segment(0, RET_KILL_THREAD), *segments]
    if segments[-1].start < X32_SYSCALL_BIT:
        x32 = Segment(X32_SYSCALL_BIT, RET_KILL_THREAD)
        return [*segments, x32, Segment(_SKIPPED_CALL, default)]
    return segments


def _merge(segments: Iterable[Segment]) -> list[Segment]:
    """Drop empty segments and those that answer as the one before."""
    merged: list[Segment] = []
    for segment in segments:
        if merged and merged[-1].start == segment.start:
            merged.pop()
        if not merged or merged[-1].answer != segment.answer:
            merged.append(segment)
    return merged


class _Block:
    """Emits one architecture's search tree."""

    def __init__(self, assembler: Assembler, default: int, *, is_wide: bool) -> None:
        self._assembler = assembler
        self._default = default
        self._is_wide = is_wide

    def emit(self, segments: Sequence[Segment]) -> int:
        """Emit the search over ``segments``; the call's number is loaded already."""
        if len(segments) == 1:
            return self._answer(segments[0])
        middle = len(segments) // 2
        high = self.emit(segments[middle:])
        low = self.emit(segments[:middle])
        return self._assembler.jump(JUMP_GREATER_EQUAL, segments[middle].start, high, low)

    def _answer(self, segment: Segment) -> int:
        if isinstance(segment.answer, int):
            return self._assembler.give(segment.answer)
        is_wide = self._is_wide and not X32_SYSCALL_BIT <= segment.start < _SKIPPED_CALL
        label = self._assembler.give(self._default)
        for case in reversed(segment.answer):
            otherwise = label
            label = self._assembler.give(case.answer)
            for argument in reversed(case.arguments):
                label = conditions.emit(
                    self._assembler, argument, yes=label, no=otherwise, is_wide=is_wide
                )
        return label
