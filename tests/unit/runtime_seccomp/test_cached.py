from pathlib import Path

import pytest

from kedge.oci.runtime_spec_seccomp import Seccomp, SeccompRule
from kedge.runtime.seccomp import cached, compiler, kept
from kedge.runtime.seccomp.architectures import AARCH64, X86_64, Architecture
from kedge.runtime.seccomp.cached import compile_profile, default_program

PROFILE = Seccomp("SCMP_ACT_ALLOW", syscalls=(SeccompRule(("reboot",), "SCMP_ACT_ERRNO"),))


@pytest.fixture(autouse=True)
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the compiler really ran; the memory cache starts empty."""
    ran: list[str] = []

    compile_really = compiler.compile_program

    def compile_program(profile: Seccomp, native: Architecture) -> bytes:
        ran.append(native.name)
        return compile_really(profile, native)

    monkeypatch.setattr(compiler, "compile_program", compile_program)
    monkeypatch.setattr(cached, "_programs", {})
    monkeypatch.setattr(cached, "_defaults", {})
    return ran


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where programs are kept; it is made when there is one to keep."""
    return tmp_path / "kept"


def test_memory_remembers_per_machine(compilations: list[str]) -> None:
    first = compile_profile(PROFILE, native=X86_64)
    assert compile_profile(PROFILE, native=X86_64) is first
    assert compile_profile(PROFILE, native=AARCH64) != first
    assert compilations == ["x86_64", "aarch64"]


def test_memory_is_bounded(compilations: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "_KEEP_PROGRAMS", 1)
    compile_profile(PROFILE, native=X86_64)
    compile_profile(PROFILE, native=AARCH64)
    compile_profile(PROFILE, native=X86_64)
    assert len(compilations) == 3


def test_a_new_process_finds_the_file(
    compilations: list[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compile_profile(PROFILE, native=X86_64, cache_dir=str(place))
    (file,) = place.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(cached, "_programs", {})
    assert compile_profile(PROFILE, native=X86_64, cache_dir=str(place)) == program
    assert compilations == ["x86_64"]


@pytest.mark.parametrize("content", [b"", b"short", bytes(64)])
def test_a_damaged_file_is_made_again(
    compilations: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    program = compile_profile(PROFILE, native=X86_64, cache_dir=str(place))
    (file,) = place.iterdir()
    good = file.read_bytes()
    file.write_bytes(content)
    monkeypatch.setattr(cached, "_programs", {})
    assert compile_profile(PROFILE, native=X86_64, cache_dir=str(place)) == program
    assert file.read_bytes() == good
    assert len(compilations) == 2


def test_a_link_in_the_cache_is_not_followed(
    compilations: list[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_profile(PROFILE, native=X86_64, cache_dir=str(place))
    (file,) = place.iterdir()
    file.rename(place / "elsewhere")
    file.symlink_to("elsewhere")
    monkeypatch.setattr(cached, "_programs", {})
    compile_profile(PROFILE, native=X86_64, cache_dir=str(place))
    assert len(compilations) == 2
    assert not file.is_symlink()


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o755])
def test_a_directory_open_to_others_is_not_used(
    compilations: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    compile_profile(PROFILE, native=X86_64, cache_dir=str(place))
    place.chmod(mode)
    for _ in range(2):
        monkeypatch.setattr(cached, "_programs", {})
        compile_profile(PROFILE, native=X86_64, cache_dir=str(place))
    assert len(compilations) == 3


def test_a_directory_of_somebody_else_is_not_used(
    compilations: list[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_profile(PROFILE, native=X86_64, cache_dir=str(place))
    monkeypatch.setattr(cached, "_programs", {})
    monkeypatch.setattr("os.geteuid", lambda: place.stat().st_uid + 1)
    compile_profile(PROFILE, native=X86_64, cache_dir=str(place))
    assert len(compilations) == 2


def test_a_program_counts_only_for_the_text_it_was_made_from(place: Path) -> None:
    kept.keep(str(place), "one", b"program")
    assert kept.try_find(str(place), "one") == b"program"
    (file,) = place.iterdir()
    kept.keep(str(place), "other", b"other program")
    (other,) = set(place.iterdir()) - {file}
    file.replace(other)
    assert kept.try_find(str(place), "other") is None


def test_the_directory_does_not_grow_for_ever(place: Path) -> None:
    for number in range(150):
        kept.keep(str(place), str(number), b"program")
        assert kept.try_find(str(place), str(number)) == b"program"
    assert len(list(place.iterdir())) <= 64


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    assert compile_profile(PROFILE, native=X86_64, cache_dir=str(tmp_path / "missing" / "kept"))


def test_capabilities_that_do_not_matter_share_a_program(compilations: list[str]) -> None:
    assert default_program(["CAP_CHOWN"]) is default_program(["CAP_KILL", "CAP_SETUID"])
    assert default_program(["CAP_SYS_ADMIN"]) != default_program([])
    assert len(compilations) == 2
