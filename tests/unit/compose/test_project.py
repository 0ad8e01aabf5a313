"""A project as the command line means it: files, names, environment, and what is printed."""

from pathlib import Path

import pytest

from kedge.cli.main import main
from kedge.compose.presentation import presented
from kedge.compose.printing import to_yaml
from kedge.compose.project import Wanted, load_project, select_services
from kedge.compose.yamlfile import parse_documents
from kedge.errdefs import NotFoundError
from kedge.lib.jsontypes import JsonObject

_TEXT = """
services:
  web: {image: "i:${TAG}", env_file: [a.env], environment: {B: own}, depends_on: [db]}
  db: {image: db, volumes: ["data:/d"], command: run -x "a b"}
  alone: {image: x}
volumes: {data: , unused: }
"""


def _project(folder: Path, **environ: str) -> JsonObject:
    wanted = Wanted(directory=str(folder))
    return presented(load_project(wanted, environ, lambda _text: None).model)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "My.App"
    place.mkdir()
    (place / "compose.yaml").write_text(_TEXT)
    (place / ".env").write_text("TAG=one\n")
    (place / "a.env").write_text("A=${TAG}\nB=file\n")
    return place


def test_environment_files_and_names(folder: Path) -> None:
    model = _project(folder)
    assert model["name"] == "myapp"
    assert model["volumes"] == {"data": {"name": "myapp_data"}}
    services = model["services"]
    assert isinstance(services, dict)
    assert isinstance(services["web"], dict)
    assert isinstance(services["db"], dict)
    assert services["web"]["image"] == "i:one"
    assert services["web"]["environment"] == {"A": "one", "B": "own"}
    assert services["db"]["command"] == ["run", "-x", "a b"]


def test_the_process_environment_wins(folder: Path) -> None:
    model = _project(folder, TAG="two", COMPOSE_PROJECT_NAME="other")
    assert model["name"] == "other"
    assert "i:two" in to_yaml(model)


def test_override_file_is_found(folder: Path) -> None:
    (folder / "compose.override.yaml").write_text("services: {alone: {image: y}}")
    assert "image: y" in to_yaml(_project(folder))


def test_missing_environment_file_is_refused(folder: Path) -> None:
    (folder / "a.env").unlink()
    with pytest.raises(NotFoundError, match=r"a\.env not found"):
        _project(folder)


def test_selected_services_bring_their_dependencies(folder: Path) -> None:
    model = select_services(_project(folder), ["web"])
    assert isinstance(model["services"], dict)
    assert list(model["services"]) == ["db", "web"]
    with pytest.raises(NotFoundError, match="no such service: nope"):
        select_services(model, ["nope"])


def test_what_is_printed_loads_to_the_same_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["compose", "-f", str(folder / "compose.yaml"), "config"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    (folder / "compose.yaml").write_text(printed)
    assert _project(folder) == parse_documents(printed, "printed")[0].data


def test_a_fault_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "compose.yaml").write_text("services:\n  web:\n    imag: x\n")
    with pytest.raises(SystemExit) as caught:
        main(["compose", "--project-directory", str(folder), "config", "-q"])
    assert caught.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1
