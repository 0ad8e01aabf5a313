import importlib.util
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from kedge.engine import initprogram
from kedge.engine.initprogram import find_init
from kedge.errdefs import SystemFailureError

FOLDER = Path(initprogram.__file__).parent / "init"
REPOSITORY = Path(__file__).parents[3]
PROGRAMS = sorted(FOLDER.glob("docker-init-*"))
PT_INTERP = 3


def test_the_usual_machines_have_one() -> None:
    assert [path.name for path in PROGRAMS] == ["docker-init-aarch64", "docker-init-x86_64"]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_it_is_static_and_executable(program: Path) -> None:
    data = program.read_bytes()
    assert data[:5] == b"\x7fELF\x02"
    machine = {"x86_64": 62, "aarch64": 183}[program.name.rpartition("-")[2]]
    assert struct.unpack_from("<H", data, 18) == (machine,)
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    kinds = [struct.unpack_from("<I", data, offset + index * size)[0] for index in range(count)]
    assert kinds
    assert PT_INTERP not in kinds
    assert os.access(program, os.X_OK)


@pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="ziglang, which builds it, is not installed"
)
def test_the_source_makes_the_same_bytes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, REPOSITORY / "scripts/build-init", tmp_path], check=True)
    for program in PROGRAMS:
        assert (tmp_path / program.name).read_bytes() == program.read_bytes()


def test_the_engine_may_name_another(tmp_path: Path) -> None:
    other = tmp_path / "tini"
    other.write_bytes(b"")
    other.chmod(0o755)
    assert find_init(str(other)) == str(other)


def test_one_that_is_missing_is_named() -> None:
    with pytest.raises(SystemFailureError, match=r'exec: "/no/init": executable file not found'):
        find_init("/no/init")
