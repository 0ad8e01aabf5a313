from pathlib import Path

from kedge.engine.kernelfacts import counts_swap


def test_swap_is_told_from_the_cgroups_that_count_memory(tmp_path: Path) -> None:
    (tmp_path / "idle").mkdir()
    # Nobody counts memory yet: what the kernel can do decides, not the missing file.
    assert counts_swap(str(tmp_path)) is Path("/proc/swaps").exists()
    unit = tmp_path / "unit"
    unit.mkdir()
    (unit / "memory.max").touch()
    assert not counts_swap(str(tmp_path))
    (unit / "memory.swap.max").touch()
    assert counts_swap(str(tmp_path))
