"""What binfmt_misc's files say of emulators."""

from pathlib import Path

import pytest

from kedge.builder.emulation import can_emulate
from kedge.oci.platforms import parse_platform

ARM64 = (
    "{state}\ninterpreter /usr/bin/qemu-aarch64-static\nflags: {flags}\noffset 0\n"
    "magic 7f454c460201010000000000000000000200b700\n"
    "mask ffffffffffffff00fffffffffffffffffeffffff\n"
)
S390X = "enabled\nflags: OCF\noffset 0\nmagic 7f454c4602020100000000000000000000020016\n"


@pytest.mark.parametrize(
    ("name", "state", "flags", "works"),
    [
        ("linux/arm64", "enabled", "OCF", True),
        ("linux/arm64/v8", "enabled", "F", True),
        ("linux/arm64", "disabled", "OCF", False),
        ("linux/arm64", "enabled", "OC", False),
        ("linux/s390x", "enabled", "OC", True),
        ("linux/riscv64", "enabled", "OCF", False),
        ("windows/arm64", "enabled", "OCF", False),
    ],
)
def test_an_emulator_must_be_enabled_and_open(
    tmp_path: Path, name: str, state: str, flags: str, *, works: bool
) -> None:
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "register").touch()
    (tmp_path / "qemu-aarch64").write_text(ARM64.format(state=state, flags=flags))
    (tmp_path / "qemu-s390x").write_text(S390X)
    (tmp_path / "python").write_text("enabled\nflags: F\noffset 0\nextension .py\n")
    assert can_emulate(parse_platform(name), folder=str(tmp_path)) is works


def test_nothing_works_where_nothing_is_registered(tmp_path: Path) -> None:
    assert not can_emulate(parse_platform("linux/arm64"), folder=str(tmp_path / "none"))
    (tmp_path / "status").write_text("disabled\n")
    (tmp_path / "qemu-aarch64").write_text(ARM64.format(state="enabled", flags="F"))
    assert not can_emulate(parse_platform("linux/arm64"), folder=str(tmp_path))
