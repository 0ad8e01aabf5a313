import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import InvalidParameterError
from kedge.oci.runtime_spec_seccomp import OPERATORS, Seccomp, SeccompArgument, SeccompRule
from kedge.oci.runtime_spec_seccomp import parse_seccomp as parse
from kedge.runtime.seccomp.actions import ENOSYS, filter_flags, return_value
from kedge.runtime.seccomp.architectures import (
    AARCH64,
    ARM,
    KNOWN,
    X32,
    X86,
    X86_64,
    Architecture,
    syscall_numbers,
)
from kedge.runtime.seccomp.compiler import compile_program
from kedge.runtime.seccomp.default_profile import default_seccomp
from tests.unit.runtime_seccomp.bpf_machine import Call, decode, run
from tests.unit.runtime_seccomp.libseccomp import LIBRARY, compile_with_libseccomp, resolve

ALLOW = 0x7FFF_0000
KILL = 0
X86_ARCHES = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")
ALL_ARCHES = (X86_64, X32, X86, AARCH64, ARM)
# On every architecture; through two doors on x86; only on some; renumbered on x32.
NAMES = ("read", "socket", "semget", "accept4", "chown32", "rt_sigaction", "clone", "nonsense")
VALUES = (0, 1, 2, 5, 38, 0xFFFF_FFFF, 1 << 32, (1 << 32) + 1, 5 << 32 | 7, (1 << 64) - 1)
NEVER_CALLED = "clock_adjtime64"

needs_libseccomp = pytest.mark.skipif(LIBRARY is None, reason="libseccomp.so.2 is not installed")


def errno(number: int) -> int:
    return 0x0005_0000 | number


def arguments(register: st.SearchStrategy[int]) -> st.SearchStrategy[SeccompArgument]:
    values = st.sampled_from(VALUES)
    operators = st.sampled_from(sorted(OPERATORS))
    return st.builds(SeccompArgument, register, values, values, operators)


@st.composite
def profiles(draw: st.DrawFn) -> Seccomp:
    """A profile whose rules overlap in every way."""
    default = draw(st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"]))
    rules: list[SeccompRule] = []
    for _ in range(draw(st.integers(0, 4))):
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3))
        args = draw(st.lists(arguments(st.integers(0, 2)), max_size=3))
        action = draw(st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"]))
        number = draw(st.integers(1, 3)) if action == "SCMP_ACT_ERRNO" else None
        rules.append(SeccompRule(tuple(names), action, number, tuple(args)))
    return finish(draw, default, rules)


@st.composite
def plain_profiles(draw: st.DrawFn) -> Seccomp:
    """A profile with one rule per call and without x32.

    More is not compared with libseccomp 2.5: it merges "at most 0" and "at least 2**32" for one
    argument into a test that 1 passes, and a short profile with x32 compares the architecture
    where it means the number.
    """
    default, action = draw(st.permutations(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"]))
    rules: list[SeccompRule] = []
    for name in draw(st.sets(st.sampled_from(NAMES))):
        registers = draw(st.sets(st.integers(0, 2)))
        args = tuple(draw(arguments(st.just(register))) for register in sorted(registers))
        rules.append(SeccompRule((name,), action, None, args))
    return finish(draw, default, rules, most_architectures=2)


def finish(
    draw: st.DrawFn, default: str, rules: list[SeccompRule], most_architectures: int = 3
) -> Seccomp:
    return Seccomp(
        default_action=default,
        default_errno_ret=ENOSYS if default == "SCMP_ACT_ERRNO" else None,
        architectures=X86_ARCHES[: draw(st.integers(0, most_architectures))],
        syscalls=tuple(rules),
    )


def holds(argument: SeccompArgument, register: int, *, wide: bool) -> bool:
    mask = (1 << 64) - 1 if wide else 0xFFFF_FFFF
    left, value = register & mask, argument.value & mask
    match argument.op:
        case "SCMP_CMP_EQ":
            return left == value
        case "SCMP_CMP_NE":
            return left != value
        case "SCMP_CMP_LT":
            return left < value
        case "SCMP_CMP_LE":
            return left <= value
        case "SCMP_CMP_GT":
            return left > value
        case "SCMP_CMP_GE":
            return left >= value
        case _:
            return left & value == argument.value_two & value


def interpret(profile: Seccomp, architecture: Architecture, name: str, call: Call) -> int:
    """The documented meaning of a profile, without any table or tree."""
    default = return_value(profile.default_action, profile.default_errno_ret)
    rules = [
        (rule, return_value(rule.action, rule.errno_ret))
        for rule in profile.syscalls
        if name in rule.names
    ]
    rules = [(rule, value) for rule, value in rules if value != default]
    for rule, value in rules:
        if not rule.args:
            return value
    for rule, value in rules:
        met = [holds(a, call.args[a.register], wide=architecture.wide) for a in rule.args]
        registers = [a.register for a in rule.args]
        if any(met) if len(set(registers)) < len(registers) else all(met):
            return value
    return default


@given(profiles(), st.lists(st.sampled_from(VALUES), min_size=3, max_size=3))
def test_a_profile_means_what_the_naive_reading_says(profile: Seccomp, values: list[int]) -> None:
    code = decode(compile_program(profile, X86_64))
    listed = {X86_64, *(KNOWN[name] for name in profile.architectures)}
    for architecture in (X86_64, X32, X86):
        for name in NAMES:
            number = syscall_numbers(architecture.name).get(name)
            if number is None:
                continue
            call = Call(architecture.audit_arch, number, (*values, 0, 0, 0))
            expected = interpret(profile, architecture, name, call)
            if architecture not in listed:
                expected = KILL
            assert run(code, call) == expected, (architecture.name, name)


@needs_libseccomp
@given(plain_profiles(), st.lists(st.sampled_from(VALUES), min_size=3, max_size=3))
def test_libseccomp_agrees_on_random_profiles(profile: Seccomp, values: list[int]) -> None:
    ours = decode(compile_program(profile, X86_64))
    theirs = decode(compile_with_libseccomp(profile))
    for architecture in ALL_ARCHES:
        for name in (*NAMES, "socketcall", "ipc", NEVER_CALLED):
            number = syscall_numbers(architecture.name).get(name)
            for door in range(8) if name in {"socketcall", "ipc"} else (values[0],):
                if number is not None:
                    call = Call(architecture.audit_arch, number, (door, *values[1:], 0, 0, 0))
                    assert run(ours, call) == run(theirs, call), (architecture.name, name)


@needs_libseccomp
@pytest.mark.parametrize(
    ("architectures", "capabilities"),
    [
        (("SCMP_ARCH_ARM", *X86_ARCHES), []),
        (X86_ARCHES[:2], ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF"]),
    ],
)
def test_libseccomp_agrees_on_the_default_profile(
    architectures: tuple[str, ...], capabilities: list[str]
) -> None:
    document = default_seccomp(capabilities, "amd64", "6.1")
    # What is newer than libseccomp is left out of the comparison, and so is what runc adds to it.
    profile = parse(document)._replace(architectures=architectures, default_errno_ret=ENOSYS)
    known = {
        name
        for name in (name for rule in profile.syscalls for name in rule.names)
        if resolve(0xC000003E, name) != -1
    }
    profile = profile._replace(
        syscalls=tuple(
            rule._replace(names=tuple(name for name in rule.names if name in known))
            for rule in profile.syscalls
        )
    )
    ours = decode(compile_program(profile, X86_64))
    theirs = decode(compile_with_libseccomp(profile))
    assert len(ours) * 2 < len(theirs)
    for architecture in ALL_ARCHES:
        numbers = [*range(600), 0x3FFF_FFFF, 983041, 0xBFFF_FFFF]
        conditional = {
            syscall_numbers(architecture.name).get(name)
            for name in ("socket", "personality", "clone")
        }
        for number in (architecture.number_base + offset for offset in numbers):
            many = (*VALUES, 8, 37, 39, 40, 41, 0x20000, 0x20008, 0x7E020000)
            for value in many if number in conditional else (0,):
                call = Call(architecture.audit_arch, number & 0xFFFF_FFFF, (value, 0, 0, 0, 0, 0))
                assert run(ours, call) == run(theirs, call), (architecture.name, hex(number))


@needs_libseccomp
def test_numbers_are_libseccomps() -> None:
    tokens = {X86_64: 0xC000003E, X32: 0x4000003E, X86: 0x40000003, AARCH64: 0xC00000B7}
    tokens[ARM] = 0x40000028
    for architecture, token in tokens.items():
        table = syscall_numbers(architecture.name)
        theirs = {name: resolve(token, name) for name in table}
        differing = {
            name: (table[name], number)
            for name, number in theirs.items()
            if number >= 0 and number != table[name]
        }
        assert differing == {}
        older = [name for name, number in theirs.items() if number >= 0]
        assert len(older) > 300, "libseccomp knows nearly all of them"


def simple(
    name: str, *arguments: SeccompArgument, action: str = "SCMP_ACT_ALLOW", number: int = 38
) -> Seccomp:
    rule = SeccompRule((name,), action, None, arguments)
    return Seccomp("SCMP_ACT_ERRNO", number, X86_ARCHES, syscalls=(rule,))


def answer(profile: Seccomp, architecture: Architecture, number: int, *values: int) -> int:
    args = (*values, *(0,) * (6 - len(values)))
    code = decode(compile_program(profile, X86_64))
    return run(code, Call(architecture.audit_arch, number, args))


def test_calls_newer_than_the_profile_do_not_exist() -> None:
    profile = simple("mseal", number=1)
    assert answer(profile, X86_64, 462) == ALLOW
    assert answer(profile, X86_64, 461) == errno(1)
    assert answer(profile, X86_64, 463) == errno(ENOSYS)
    assert answer(profile, X86, 463) == errno(ENOSYS)
    assert answer(profile, X32, X32.number_base + 463) == errno(ENOSYS)


def test_arm_s_private_calls_do_not_hide_new_ones() -> None:
    rule = SeccompRule(("read", "cacheflush"), "SCMP_ACT_ALLOW")
    profile = Seccomp("SCMP_ACT_ERRNO", 1, ("SCMP_ARCH_ARM",), syscalls=(rule,))
    code = decode(compile_program(profile, AARCH64))
    answers = [run(code, Call(ARM.audit_arch, n)) for n in (3, 2, 4, 983042, 983043, 983041)]
    assert answers == [ALLOW, errno(1), errno(ENOSYS), ALLOW, errno(1), errno(1)]


@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"])
def test_a_permissive_default_lets_new_calls_through(action: str) -> None:
    rule = SeccompRule(("read",), "SCMP_ACT_KILL_PROCESS")
    profile = Seccomp(action, syscalls=(rule,))
    assert answer(profile, X86_64, 999) == return_value(action, None)
    assert answer(profile, X86_64, 0) == 0x8000_0000


def test_other_architectures_are_killed() -> None:
    profile = simple("read")._replace(architectures=())
    assert answer(profile, X86_64, 0) == ALLOW
    assert answer(profile, X86, 3) == KILL
    assert answer(profile, X32, X32.number_base) == KILL


def test_both_doors_of_32_bit_x86_are_closed() -> None:
    rule = SeccompRule(("socket",), "SCMP_ACT_ERRNO")
    profile = Seccomp("SCMP_ACT_ALLOW", None, X86_ARCHES, syscalls=(rule,))
    assert answer(profile, X86, 359) == errno(1)
    assert answer(profile, X86, 102, 1) == errno(1)
    assert answer(profile, X86, 102, 2) == ALLOW


def test_the_door_libseccomp_leaves_open_is_closed_too() -> None:
    # libseccomp 2.5 loses a rule about a call that 32-bit x86 only has behind a multiplexer.
    rule = SeccompRule(("semop", "accept"), "SCMP_ACT_ERRNO")
    profile = Seccomp("SCMP_ACT_ALLOW", None, X86_ARCHES, syscalls=(rule,))
    assert [answer(profile, X86, 117, door) for door in (1, 2)] == [errno(1), ALLOW]
    assert [answer(profile, X86, 102, door) for door in (5, 2)] == [errno(1), ALLOW]


def test_foreign_architectures_are_passed_over_and_unknown_ones_named() -> None:
    profile = simple("read")._replace(architectures=("SCMP_ARCH_S390X",))
    assert answer(profile, X86_64, 0) == ALLOW
    with pytest.raises(InvalidParameterError, match="unknown architecture 'SCMP_ARCH_Z80'"):
        compile_program(simple("read")._replace(architectures=("SCMP_ARCH_Z80",)), X86_64)


@pytest.mark.parametrize(
    ("action", "number", "message"),
    [
        ("SCMP_ACT_ALLOW", 1, "SCMP_ACT_ALLOW takes no errnoRet"),
        ("SCMP_ACT_ERRNO", 1 << 16, "errnoRet 65536 is larger"),
    ],
)
def test_an_errno_that_does_not_fit_is_refused(action: str, number: int, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        return_value(action, number)


def test_a_profile_beyond_the_kernel_s_limit_is_refused() -> None:
    arguments = [
        SeccompRule(
            ("read",), "SCMP_ACT_ALLOW", None, (SeccompArgument(0, n * 2, 0, "SCMP_CMP_EQ"),)
        )
        for n in range(1500)
    ]
    profile = Seccomp("SCMP_ACT_ERRNO", syscalls=tuple(arguments))
    with pytest.raises(InvalidParameterError, match="the kernel takes 4096"):
        compile_program(profile, X86_64)


def test_flags() -> None:
    profile = Seccomp("SCMP_ACT_ALLOW")
    assert filter_flags(profile) == 4
    assert filter_flags(profile._replace(flags=("SECCOMP_FILTER_FLAG_LOG",))) == 2
    notify = profile._replace(syscalls=(SeccompRule(("read",), "SCMP_ACT_NOTIFY"),))
    assert filter_flags(notify) == 4 | 8
