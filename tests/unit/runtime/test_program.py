"""The texts are Docker's: its CLI makes exit codes 126 and 127 from them."""

from pathlib import Path

import pytest

from kedge.errdefs import ForbiddenError, NotFoundError
from kedge.runtime.program import complete_environment, find_program


def make_program(path: Path, mode: int = 0o755) -> str:
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return str(path)


def test_path_is_searched_in_order(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make_program(tmp_path / name / "tool")
    environment = (f"PATH={tmp_path}/none:{tmp_path}/b:{tmp_path}/a",)
    assert find_program("tool", environment) == f"{tmp_path}/b/tool"


def test_what_cannot_run_is_passed_over(tmp_path: Path) -> None:
    make_program(tmp_path / "tool", 0o644)
    (tmp_path / "dir").mkdir()
    for name in ("tool", "dir"):
        with pytest.raises(NotFoundError) as caught:
            find_program(name, (f"PATH={tmp_path}",))
        assert str(caught.value) == f'exec: "{name}": executable file not found in $PATH'


def test_without_path_nothing_is_found() -> None:
    with pytest.raises(NotFoundError, match=r"executable file not found in \$PATH"):
        find_program("sh", ())


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    program = make_program(tmp_path / "x")
    assert find_program(program, ()) == program


def test_a_missing_path_has_docker_s_text() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_program("/foo", ())
    assert str(caught.value) == 'exec: "/foo": stat /foo: no such file or directory'


def test_a_file_without_the_right_has_docker_s_text(tmp_path: Path) -> None:
    program = make_program(tmp_path / "x", 0o644)
    with pytest.raises(ForbiddenError) as caught:
        find_program(program, ())
    assert str(caught.value) == f'exec: "{program}": permission denied'


def test_a_directory_has_docker_s_text(tmp_path: Path) -> None:
    with pytest.raises(ForbiddenError) as caught:
        find_program(str(tmp_path), ())
    assert str(caught.value) == f'exec: "{tmp_path}": is a directory'


def test_the_last_of_repeated_names_wins() -> None:
    found = complete_environment(("A=1", "HOME=/h", "A=2", "B="), 0)
    assert found == ("A=2", "HOME=/h", "B=")


def test_an_empty_home_is_looked_up() -> None:
    assert complete_environment(("HOME=",), 0) == ("HOME=/root",)
    assert complete_environment((), 4_000_000_000) == ("HOME=/",)
