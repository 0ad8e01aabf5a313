"""Contexts as files, and which engine a command then talks to."""

import json
import os
import stat
from pathlib import Path

import pytest

from kedge.cli.contexts import check_name, list_contexts, load_context, tls_folder
from kedge.cli.main import main
from kedge.cli.target import GlobalOptions, current_context, select_target
from kedge.client.hosts import DEFAULT_HOST
from kedge.errdefs import InvalidParameterError, KedgeError


def kedge(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(words)
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


def test_a_context_is_stored_where_docker_looks(
    docker_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kedge(
        capsys, "context", "create", "t1", "--docker", "host=unix:///x", "--description", "hi"
    ) == (0, "t1\n", 'Successfully created context "t1"\n')
    # The folder is the SHA-256 of the name.
    folder = "628b49d96dcde97a430dd4f597705899e09a968f793491e4b704cae33a40dc02"
    stored = (docker_folder / "contexts" / "meta" / folder / "meta.json").read_text()
    assert json.loads(stored) == {
        "Name": "t1",
        "Metadata": {"Description": "hi"},
        "Endpoints": {"docker": {"Host": "unix:///x", "SkipTLSVerify": False}},
    }
    assert kedge(capsys, "context", "create", "t1")[0] == 1
    assert kedge(capsys, "context", "update", "t1", "--description", "new")[0] == 0
    assert load_context("t1").description == "new"
    assert load_context("t1").host == "unix:///x"


def test_using_showing_and_removing(
    docker_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kedge(capsys, "context", "create", "t1", "--docker", "host=unix:///x")
    (docker_folder / "config.json").write_text('{"auths": {"r": {}}, "psFormat": "x"}')
    assert kedge(capsys, "context", "use", "t1") == (0, "t1\n", 'Current context is now "t1"\n')
    document = json.loads((docker_folder / "config.json").read_text())
    assert document == {"auths": {"r": {}}, "psFormat": "x", "currentContext": "t1"}
    assert stat.S_IMODE(os.stat(docker_folder / "config.json").st_mode) == 0o600
    assert kedge(capsys, "context", "show")[1] == "t1\n"
    assert kedge(capsys, "context", "ls", "-q")[1] == "default\nt1\n"
    assert "t1 *" in kedge(capsys, "context", "ls")[1]
    rows = [
        json.loads(line)
        for line in kedge(capsys, "context", "ls", "--format", "json")[1].splitlines()
    ]
    assert [(row["Name"], row["Current"]) for row in rows] == [("default", False), ("t1", True)]
    assert kedge(capsys, "context", "rm", "t1")[2].startswith('kedge: context "t1" is in use')
    assert kedge(capsys, "context", "rm", "-f", "t1")[:2] == (0, "t1\n")
    assert json.loads((docker_folder / "config.json").read_text()) == {
        "auths": {"r": {}}, "psFormat": "x",
    }  # fmt: skip
    assert list_contexts() == []
    assert kedge(capsys, "context", "rm", "default")[0] == 1
    assert kedge(capsys, "context", "use", "t1")[0] == 1


def test_keys_travel_with_an_exported_context(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    kedge(
        capsys, "context", "create", "lab", "--docker", f"host=tcp://lab:2376,ca={tmp_path}/ca.pem"
    )
    target = tmp_path / "lab.dockercontext"
    assert kedge(capsys, "context", "export", "lab", str(target))[0] == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert kedge(capsys, "context", "export", "lab", str(target))[0] == 1
    assert kedge(capsys, "context", "import", "copy", str(target))[0] == 0
    assert load_context("copy").host == "tcp://lab:2376"
    key = Path(tls_folder("copy")) / "docker" / "ca.pem"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("CA", 0o600)
    inspected = json.loads(kedge(capsys, "context", "inspect", "copy")[1])
    assert inspected[0]["TLSMaterial"] == {"docker": ["ca.pem"]}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 600])
def test_a_damaged_export_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "x").write_bytes(content)
    code, _, error = kedge(capsys, "context", "import", "t1", str(tmp_path / "x"))
    assert (code, error.splitlines()[0].startswith("kedge: invalid context: ")) == (1, True)
    assert list_contexts() == []


@pytest.mark.parametrize("name", ["", "default", "a", "a b", "-ab", "../x"])
def test_names(name: str) -> None:
    with pytest.raises(InvalidParameterError, match="context"):
        check_name(name)


@pytest.mark.parametrize(
    ("options", "environ", "expected"),
    [
        (GlobalOptions(), {}, "unix:///configured"),
        (GlobalOptions(), {"DOCKER_CONTEXT": "other"}, "unix:///other"),
        (GlobalOptions(), {"DOCKER_CONTEXT": "other", "DOCKER_HOST": "unix:///env"}, "unix:///env"),
        (GlobalOptions(), {"DOCKER_HOST": "unix:///env", "KEDGE_HOST": "unix:///k"}, "unix:///k"),
        (GlobalOptions(host="unix:///flag"), {"KEDGE_HOST": "unix:///k"}, "unix:///flag"),
        (GlobalOptions(context="other"), {"KEDGE_HOST": "unix:///k"}, "unix:///other"),
        (GlobalOptions(context="default"), {}, str(DEFAULT_HOST)),
        (GlobalOptions(context="far"), {}, "ssh://me@box:2222/run/x.sock"),
    ],
)
def test_which_engine(
    capsys: pytest.CaptureFixture[str],
    options: GlobalOptions,
    environ: "dict[str, str]",
    expected: str,
) -> None:
    for name, host in (
        ("configured", "unix:///configured"),
        ("other", "unix:///other"),
        ("far", "ssh://me@box:2222/run/x.sock"),
    ):
        kedge(capsys, "context", "create", name, "--docker", f"host={host}")
    kedge(capsys, "context", "use", "configured")
    assert str(select_target(options, environ)) == expected


def test_an_unknown_context_says_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert kedge(capsys, "-c", "nope", "ps") == (
        1, "", "kedge: context \"nope\": context not found: see 'kedge context ls'\n"
    )  # fmt: skip
    with pytest.raises(KedgeError, match="both --host and --context"):
        select_target(GlobalOptions(host="unix:///x", context="y"), {})
    assert current_context({"DOCKER_CONTEXT": "nope"}) == "nope"
