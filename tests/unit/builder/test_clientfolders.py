"""Folders of clients between builds."""

from pathlib import Path

from kedge.builder.clientfolders import ClientFolders


def fill(folders: ClientFolders, key: str, content: str = "x") -> None:
    with folders.folder(key) as path:
        (Path(path) / "file").write_text(content)


def test_a_folder_is_there_for_the_next_build_of_its_key(tmp_path: Path) -> None:
    folders = ClientFolders(str(tmp_path))
    fill(folders, "one")
    with folders.folder("one") as path, folders.folder("two") as other:
        assert (Path(path) / "file").read_text() == "x"
        assert list(Path(other).iterdir()) == []
        assert [folder.is_used for folder in folders.folders()] == [True, True]


def test_builds_at_the_same_time_share_nothing(tmp_path: Path) -> None:
    folders = ClientFolders(str(tmp_path))
    with folders.folder("one") as first, folders.folder("one") as second:
        assert first != second
        assert len(folders.folders()) == 1
    assert not Path(second).exists()


def test_without_a_key_nothing_stays(tmp_path: Path) -> None:
    folders = ClientFolders(str(tmp_path))
    fill(folders, "")
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_use_is_not_removed(tmp_path: Path) -> None:
    folders = ClientFolders(str(tmp_path))
    fill(folders, "old", "y" * 5000)
    with folders.folder("new"):
        old, new = sorted(folders.folders(), key=lambda folder: folder.is_used)
        assert old.size_bytes >= 5000
        gone, freed = folders.prune([old.name, new.name])
    assert gone == [old.name]
    assert freed == old.size_bytes
    assert [folder.name for folder in folders.folders()] == [new.name]


def test_the_next_engine_goes_on_and_removes_what_a_crash_left(tmp_path: Path) -> None:
    fill(ClientFolders(str(tmp_path)), "one")
    (tmp_path / "tmpabc").mkdir()
    folders = ClientFolders(str(tmp_path))
    assert len(folders.folders()) == 1
    assert len(list(tmp_path.iterdir())) == 1
