"""What `kedge-runtime` refuses before it looks at a bundle: one line that names the way out."""

import os
from pathlib import Path

import pytest

from kedge.runtime import main


def _refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main.run([*words]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line.removeprefix("kedge-runtime: ")


@pytest.mark.parametrize("command", ["create", "run"])
def test_a_user_without_privileges_is_told_what_is_missing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    line = _refused(capsys, "--root", str(tmp_path / "state"), command, "one")
    assert line.startswith(f"{command} needs root: rootless containers are not supported yet (")
    assert line.endswith("run it as root, or have crun or runc do it")
    assert list(tmp_path.iterdir()) == []


def test_systemd_s_manager_is_refused_with_what_callers_are_to_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = _refused(capsys, "--root", str(tmp_path / "state"), "--systemd-cgroup", "run", "one")
    assert line.startswith("--systemd-cgroup is not supported: ")
    for way_out in ("--cgroup-manager cgroupfs", "SystemdCgroup = false", "native.cgroupdriver="):
        assert way_out in line
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_of_the_kernel_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    line = _refused(capsys, "spec", "-b", str(tmp_path / "file"))
    assert line == f"{tmp_path}/file/config.json: not a directory"
