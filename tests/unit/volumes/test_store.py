"""The volume store, and every state a killed engine can leave its folder in."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kedge.errdefs import ConflictError, InvalidParameterError, NotFoundError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.database import Database
from kedge.volumes.model import ANONYMOUS_LABEL
from kedge.volumes.store import VolumeStore

Open = Callable[[], VolumeStore]


class Killed(BaseException):
    """The engine ends here."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(str(tmp_path / "kedge.db"))
    yield database
    database.close()


@pytest.fixture
def reopen(tmp_path: Path, database: Database) -> Open:
    """Return a function that opens the store, as after a restart."""
    return lambda: VolumeStore(str(tmp_path / "volumes"), database, SYSTEM_CLOCK)


def names(store: VolumeStore) -> list[str]:
    return [volume.name for volume in store.all()]


def hidden(store: VolumeStore, kind: str) -> list[str]:
    return os.listdir(os.path.join(os.path.dirname(os.path.dirname(store.mountpoint("x"))), kind))


def test_a_volume_is_made_once(reopen: Open) -> None:
    store = reopen()
    first, made = store.create("data", labels={"a": "b"})
    again, made_again = store.create("data", labels={"c": "d"})
    assert (made, made_again, again) == (True, False, first)
    assert os.path.isdir(store.mountpoint("data"))
    assert reopen().get("data") == first


def test_an_anonymous_volume_has_a_long_name_and_a_label(reopen: Open) -> None:
    volume, _ = reopen().create("")
    assert len(volume.name) == 64
    assert volume.labels == {ANONYMOUS_LABEL: ""}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a", "volume name is too short"),
        ("a/b", 'create a/b: "a/b" includes invalid characters for a local volume name'),
        ("..", "includes invalid characters"),
        (".new", "includes invalid characters"),
        ("a\n", "includes invalid characters"),
        ("ä" * 4, "includes invalid characters"),
        ("a" * 256, "longer than 255"),
    ],
)
def test_bad_names(reopen: Open, name: str, text: str) -> None:
    store = reopen()
    with pytest.raises(InvalidParameterError, match=text):
        store.create(name)
    assert names(store) == []
    assert hidden(store, ".new") == []


def test_another_driver_is_a_conflict(reopen: Open) -> None:
    store = reopen()
    store.create("data")
    with pytest.raises(ConflictError, match="volume name must be unique"):
        store.create("data", driver="nfs")
    with pytest.raises(NotFoundError, match='plugin "nfs" not found'):
        store.create("other", driver="nfs")


def test_a_volume_in_use_stays(reopen: Open) -> None:
    store = reopen()
    store.create("data")
    store.acquire("data", "c2")
    store.acquire("data", "c1")
    with pytest.raises(ConflictError, match=r"remove data: volume is in use - \[c1, c2\]"):
        store.remove("data")
    store.release("data", "c1")
    store.release("data", "c2")
    store.remove("data")
    with pytest.raises(NotFoundError, match="get data: no such volume"):
        store.get("data")


def test_a_removed_volume_leaves_the_disk_with_the_purge(reopen: Open) -> None:
    store = reopen()
    store.create("data")
    Path(store.mountpoint("data"), "f").write_text("x")
    store.remove("data")
    store.create("data")
    store.purge()
    assert os.listdir(store.mountpoint("data")) == []
    assert hidden(store, ".gone") == []


def test_volumes_come_with_what_is_written_beside_them(reopen: Open) -> None:
    store = reopen()
    volume = store.stage("")
    with pytest.raises(Killed), store.publishing([volume]):
        raise Killed
    assert names(store) == names(reopen()) == []
    assert hidden(store, ".new") == []


def test_volumes_go_with_what_is_written_beside_them(reopen: Open) -> None:
    store = reopen()
    store.create("data")
    Path(store.mountpoint("data"), "f").write_text("x")
    with pytest.raises(Killed), store.removing(["data"]):
        raise Killed
    store.purge()
    assert Path(store.mountpoint("data"), "f").read_text() == "x"
    assert names(reopen()) == ["data"]


def test_killed_before_the_commit_of_a_new_volume(reopen: Open) -> None:
    store = reopen()
    store.stage("data")
    after = reopen()
    assert names(after) == []
    assert hidden(after, ".new") == []


def test_killed_after_the_commit_of_a_new_volume(
    reopen: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = reopen()
    volume = store.stage("data")
    Path(store.staged_data(volume), "f").write_text("x")

    def die(*_: str) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", die)
        with pytest.raises(Killed), store.publishing([volume]):
            pass
    after = reopen()
    assert Path(after.mountpoint("data"), "f").read_text() == "x"
    assert after.problems == []


def test_killed_before_the_commit_of_a_removal(tmp_path: Path, reopen: Open) -> None:
    store = reopen()
    store.create("data")
    Path(store.mountpoint("data"), "f").write_text("x")
    (tmp_path / "volumes/.gone/1").mkdir()
    (tmp_path / "volumes/data").rename(tmp_path / "volumes/.gone/1/data")
    after = reopen()
    after.purge()
    assert Path(after.mountpoint("data"), "f").read_text() == "x"


def test_killed_after_the_commit_of_a_removal(reopen: Open) -> None:
    store = reopen()
    store.create("data")
    store.remove("data")
    after = reopen()
    assert names(after) == []
    after.purge()
    assert hidden(after, ".gone") == []


def test_killed_in_a_copy(reopen: Open) -> None:
    store = reopen()
    store.create("data")
    Path(store.mountpoint("data") + ".0123").mkdir()
    after = reopen()
    assert os.listdir(os.path.dirname(after.mountpoint("data"))) != []
    assert not Path(after.mountpoint("data") + ".0123").exists()


def test_a_lost_metadata_store_loses_no_volume(reopen: Open, database: Database) -> None:
    store = reopen()
    volume, _ = store.create("data", labels={"a": "b"})
    Path(store.mountpoint("data"), "f").write_text("x")
    database.execute("DELETE FROM volumes")
    after = reopen()
    assert after.get("data") == volume
    assert Path(after.mountpoint("data"), "f").read_text() == "x"
    assert after.problems == ["volume data: its record was gone: taken up from its folder"]


def test_a_lost_folder_is_said(tmp_path: Path, reopen: Open) -> None:
    reopen().create("data")
    (tmp_path / "volumes/data").rename(tmp_path / "elsewhere")
    after = reopen()
    assert os.listdir(after.mountpoint("data")) == []
    assert after.problems == ["volume data: its folder was gone: made anew, empty"]


@pytest.mark.parametrize("text", ["", "[]", '{"labels": 3, "created_ns": "x"}', "\0"])
def test_a_damaged_description(tmp_path: Path, reopen: Open, text: str) -> None:
    folder = tmp_path / "volumes/data/_data"
    folder.mkdir(parents=True)
    (folder.parent / "volume.json").write_text(text)
    assert reopen().get("data").labels == {}


def test_strange_things_in_the_folder_do_no_harm(tmp_path: Path, reopen: Open) -> None:
    (tmp_path / "volumes/lost+found").mkdir(parents=True)
    (tmp_path / "volumes/notes").write_text("x")
    assert names(reopen()) == []
    assert (tmp_path / "volumes/notes").read_text() == "x"
