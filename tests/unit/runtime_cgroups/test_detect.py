from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError, UnavailableError
from kedge.runtime.cgroups import make_cgroup
from kedge.runtime.cgroups.detect import detect
from tests.unit.runtime_cgroups.fake_host import FakeHost


@pytest.mark.parametrize("path", ["", "/", "../x", "kedge/../../x", "./x"])
def test_a_path_that_leaves_the_hierarchy_is_refused(v1_host: FakeHost, path: str) -> None:
    with pytest.raises(InvalidParameterError, match="not a cgroup path"):
        make_cgroup(path, root=str(v1_host.root))


def test_slashes_do_not_matter(v1_host: FakeHost) -> None:
    assert make_cgroup("//kedge//web/", root=str(v1_host.root)).path == "kedge/web"


def test_nothing_mounted_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no cgroup hierarchy is mounted"):
        make_cgroup("kedge/web", root=str(tmp_path / "nowhere"))


def test_a_v2_tree_without_controllers_beside_v1_is_v1(v1_host: FakeHost) -> None:
    (v1_host.root / "unified").mkdir()
    (v1_host.root / "unified/cgroup.procs").write_text("")
    (v1_host.root / "unified/cgroup.controllers").write_text("")
    hierarchy = detect(str(v1_host.root))
    assert hierarchy.version == 1
    assert hierarchy.controllers["unified"] == f"{v1_host.root}/unified"


def test_only_a_unified_folder_is_not_v1(tmp_path: Path) -> None:
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified/cgroup.procs").write_text("")
    with pytest.raises(UnavailableError):
        detect(str(tmp_path))


def test_a_mount_that_shows_part_of_the_tree_shortens_the_own_path(v1_host: FakeHost) -> None:
    (v1_host.proc / "mountinfo").write_text(
        f"35 31 0:32 /job {v1_host.root}/memory rw,relatime - cgroup cgroup rw,memory\n"
    )
    hierarchy = detect(str(v1_host.root), str(v1_host.proc))
    mount = f"{v1_host.root}/memory"
    assert hierarchy.bases("memory") == (mount, f"{mount}/7")
    (v1_host.proc / "cgroup").write_text("4:memory:/elsewhere\n")
    assert hierarchy.bases("memory") == (mount,)
    (v1_host.proc / "cgroup").write_text("4:memory:/job\n")
    assert hierarchy.bases("memory") == (mount,)
