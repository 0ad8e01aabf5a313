"""Modules are found by their compiled form, and only if it is that of their source."""

import os
import py_compile
import subprocess
import sys
from importlib.util import module_from_spec
from pathlib import Path

import pytest

from kedge.lib.compiled import CompiledFinder
from tests.meta.repository import SOURCE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A module and a package, compiled."""
    package = tmp_path / "kedge" / "sub"
    package.mkdir(parents=True)
    for name in ("one", "sub/__init__"):
        source = tmp_path / "kedge" / f"{name}.py"
        source.write_text(f"NAME = {name!r}\nFILE = __file__\n")
        py_compile.compile(
            str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP
        )
    return tmp_path


@pytest.mark.parametrize("name", ["one", "sub"])
def test_a_module_and_a_package(folder: Path, name: str) -> None:
    spec = CompiledFinder(str(folder)).find_spec(f"kedge.{name}")
    assert spec is not None
    module = module_from_spec(spec)
    CompiledFinder(str(folder)).exec_module(module)
    assert module.FILE == module.__file__ == spec.origin
    if name == "sub":
        assert module.NAME == "sub/__init__"
        assert spec.submodule_search_locations == [str(folder / "kedge/sub")]
    else:
        assert module.NAME == "one"
        assert spec.submodule_search_locations is None


def test_what_is_not_as_expected_is_left_to_python(folder: Path) -> None:
    finder = CompiledFinder(str(folder))
    assert finder.find_spec("kedge.missing") is None
    assert finder.find_spec("json") is None
    source = folder / "kedge/one.py"
    (compiled,) = (folder / "kedge/__pycache__").glob("one.*.pyc")
    good = compiled.read_bytes()
    for wrong in (b"", good[:12], b"\0\0" + good[2:], good[:4] + b"\1" + good[5:]):
        compiled.write_bytes(wrong)
        assert finder.find_spec("kedge.one") is None
    compiled.write_bytes(good)
    assert finder.find_spec("kedge.one") is not None
    os.utime(source, (1, 1))
    assert finder.find_spec("kedge.one") is None


def test_kedge_s_own_modules_are_found_either_way(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
from kedge.lib.compiled import CompiledFinder, find_compiled_first
find_compiled_first()
import kedge.lib.ids as last
print(type(last.__spec__.loader).__name__, last.__file__)
"""
    words = [sys.executable, "-I", "-S", "-c", program]
    plain = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    # The first may have to compile them.
    subprocess.run(words, env=plain, capture_output=True, check=True)
    done = subprocess.run(words, env=plain, capture_output=True, text=True, check=True)
    kind, file = done.stdout.split()
    assert kind == "CompiledFinder" or not os.access(SOURCE, os.W_OK)
    assert file == f"{SOURCE}/kedge/lib/ids.py"
    elsewhere = [words[0], "-X", f"pycache_prefix={tmp_path}", *words[1:]]
    done = subprocess.run(elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("SourceFileLoader")
