from pathlib import Path

import pytest

from kedge.oci.runtime_spec_seccomp import Seccomp, SeccompRule
from kedge.runtime.seccomp import cached, compiler
from kedge.runtime.seccomp.architectures import AARCH64, X86_64, Architecture
from kedge.runtime.seccomp.cached import compile_profile, default_program

PROFILE = Seccomp("SCMP_ACT_ALLOW", syscalls=(SeccompRule(("reboot",), "SCMP_ACT_ERRNO"),))


@pytest.fixture(autouse=True)
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the compiler really ran; the memory cache starts empty."""
    ran: list[str] = []

    def compile_program(profile: Seccomp, native: Architecture) -> bytes:
        ran.append(native.name)
        return compiler.compile_program(profile, native)

    monkeypatch.setattr(cached, "compile_program", compile_program)
    monkeypatch.setattr(cached, "_programs", {})
    monkeypatch.setattr(cached, "_defaults", {})
    return ran


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
    compilations: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compile_profile(PROFILE, native=X86_64, cache_dir=str(tmp_path))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(cached, "_programs", {})
    assert compile_profile(PROFILE, native=X86_64, cache_dir=str(tmp_path)) == program
    assert compilations == ["x86_64"]


@pytest.mark.parametrize("content", [b"", b"short", bytes(64)])
def test_a_damaged_file_is_made_again(
    compilations: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    program = compile_profile(PROFILE, native=X86_64, cache_dir=str(tmp_path))
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    file.write_bytes(content)
    monkeypatch.setattr(cached, "_programs", {})
    assert compile_profile(PROFILE, native=X86_64, cache_dir=str(tmp_path)) == program
    assert file.read_bytes() == good
    assert len(compilations) == 2


def test_a_link_in_the_cache_is_not_followed(
    compilations: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_profile(PROFILE, native=X86_64, cache_dir=str(tmp_path))
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to("elsewhere")
    monkeypatch.setattr(cached, "_programs", {})
    compile_profile(PROFILE, native=X86_64, cache_dir=str(tmp_path))
    assert len(compilations) == 2
    assert not file.is_symlink()


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    assert compile_profile(PROFILE, native=X86_64, cache_dir=str(tmp_path / "missing"))


def test_capabilities_that_do_not_matter_share_a_program(compilations: list[str]) -> None:
    assert default_program(["CAP_CHOWN"]) is default_program(["CAP_KILL", "CAP_SETUID"])
    assert default_program(["CAP_SYS_ADMIN"]) != default_program([])
    assert len(compilations) == 2
