import os
from pathlib import Path

import pytest

from kedge.compose.application import Application
from kedge.compose.watchrules import Action, Change, Rule, compare, look, rules_of
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.jsontypes import Json, JsonObject


def rule(folder: Path, **more: Json) -> Rule:
    entry: JsonObject = {"path": "src", "action": "sync", "target": "/app", **more}
    model: JsonObject = {
        "services": {
            "web": {"build": {"context": str(folder)}, "develop": {"watch": [entry]}}
        }
    }  # fmt: skip
    [found] = rules_of(Application("p", model, {}, directory=str(folder)), ["web"])
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "src"
    for name in ("a.py", "b.log", "deep/c.py", "deep/.git/config", "deep/c.py~", ".a.py.swp"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / ".dockerignore").write_text("src/deep/secret\n")
    (source / "deep" / "secret").write_text("s")
    (source / "loop").symlink_to(tmp_path)
    return tmp_path


def seen(found: Rule) -> list[str]:
    return sorted(os.path.relpath(path, found.path) for path in look(found))


def test_what_counts(folder: Path) -> None:
    assert seen(rule(folder)) == ["a.py", "b.log", "deep/c.py"]
    assert seen(rule(folder, ignore=["*.log", "deep/"])) == ["a.py"]
    assert seen(rule(folder, ignore=["**", "!a.py"])) == ["a.py"]
    assert seen(rule(folder, include=["**/*.py"])) == ["a.py", "deep/c.py"]
    assert seen(rule(folder, path="src/a.py")) == ["."]
    assert seen(rule(folder, path="nowhere")) == []


def test_where_files_go(folder: Path) -> None:
    found = rule(folder)
    assert found.action is Action.SYNC
    assert found.target_of(str(folder / "src/deep/c.py")) == "/app/deep/c.py"
    single = rule(folder, path="src/a.py", target="/app/main.py")
    assert single.target_of(str(folder / "src/a.py")) == "/app/main.py"


def test_changes_are_files_written_and_removed(folder: Path) -> None:
    found = rule(folder)
    before = look(found)
    assert not compare(before, look(found))
    source = folder / "src"
    (source / "a.py").write_text("longer than before")
    (source / "deep" / "c.py").rename(source / "d.py")
    assert compare(before, look(found)) == Change(
        (str(source / "a.py"), str(source / "d.py")), (str(source / "deep/c.py"),)
    )
    again = look(found)
    (source / "d.py").chmod(0o700)
    assert compare(again, look(found)).written == (str(source / "d.py"),)


def test_rules_that_cannot_be_followed_are_refused() -> None:
    model: JsonObject = {"services": {"web": {"image": "x"}}}
    with pytest.raises(NotFoundError, match="give one a 'develop' section"):
        rules_of(Application("p", model, {}), ["web"])
    entry: JsonObject = {"path": ".", "action": "rebuild"}
    model = {"services": {"web": {"image": "x", "develop": {"watch": [entry]}}}}
    with pytest.raises(InvalidParameterError, match="it has no 'build'"):
        rules_of(Application("p", model, {}), ["web"])
