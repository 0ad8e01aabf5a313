from pathlib import Path

from kedge.engine.cacheshelves import PACKAGES, PackageShelf


def test_packages_are_one_entry_that_goes_unless_a_bootstrap_needs_it(tmp_path: Path) -> None:
    shelf = PackageShelf(str(tmp_path / "packages"))
    assert shelf.kept() == []
    assert shelf.prune([PACKAGES]) == ([], 0)
    with shelf.lend() as path:
        Path(path).mkdir()
        (Path(path) / "busybox.deb").write_bytes(bytes(50_000))
        (kept,) = shelf.kept()
        assert kept.item.is_used
        assert kept.disk_bytes >= 50_000
        assert shelf.prune([PACKAGES]) == ([], 0)
    (kept,) = shelf.kept()
    assert not kept.item.is_used
    assert shelf.prune(["other"]) == ([], 0)
    assert shelf.prune([PACKAGES]) == ([PACKAGES], kept.disk_bytes)
    assert shelf.kept() == []
