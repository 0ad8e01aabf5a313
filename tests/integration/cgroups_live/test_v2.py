"""cgroup v2 on a real tree: the host's own, or the one a hybrid host mounts beside v1.

A hybrid tree has few controllers; what it lacks is tested on a plain folder in the unit tests.
"""

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.errdefs import NotSupportedError
from kedge.lib.ids import new_id
from kedge.oci.runtime_spec_resources import parse_resources
from kedge.runtime.cgroups import Cgroup, make_cgroup
from tests.integration.cgroups_live.processes import (
    ask,
    open_errors,
    sleeper,
    spinner,
    wait_until,
)

ROOTS = [
    root
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    if os.path.exists(f"{root}/cgroup.controllers")
]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not ROOTS, reason="this host has no cgroup v2 tree"),
]


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    (root,) = ROOTS[:1]
    control = Path(root, "cgroup.subtree_control")
    enabled = control.read_text().split()
    made = make_cgroup(f"kedge-test-{new_id()[:12]}/web", root=root)
    yield made
    made.kill()
    made.delete()
    made.delete_empty_ancestors()
    for name in set(control.read_text().split()) - set(enabled):
        _switch_off(control, name)


def _switch_off(control: Path, name: str) -> None:
    """Take a controller away again; the kernel holds it while a removed cgroup is being freed."""
    deadline = time.monotonic() + 60
    while True:
        try:
            control.write_text(f"-{name}")
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def test_device_program_closes_all_but_the_usual_and_the_asked_for(cgroup: Cgroup) -> None:
    attempts = (
        ("/dev/null", os.O_RDWR),
        ("/dev/kmsg", os.O_RDONLY),
        ("/dev/kmsg", os.O_WRONLY),
        ("/dev/loop-control", os.O_RDONLY),
    )
    asked = parse_resources(
        {"devices": [{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]}
    )
    cgroup.create(asked)
    closed = ["ok", "ok", "PermissionError", "PermissionError"]
    assert ask(cgroup, lambda: open_errors(*attempts)).split() == closed
    cgroup.update(parse_resources({"devices": [{"allow": True}]}))
    assert ask(cgroup, lambda: open_errors(*attempts)).split() == ["ok"] * 4
    cgroup.update(asked)
    assert ask(cgroup, lambda: open_errors(*attempts)).split() == closed


def test_freeze_kill_and_delete(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({}))
    with sleeper(cgroup) as pid:
        cgroup.freeze()
        assert cgroup.is_frozen()
        cgroup.kill()
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    cgroup.delete()
    assert not cgroup.exists()


def test_join_fd_is_the_directory(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({}))
    descriptor = cgroup.join_fd()
    try:
        assert os.path.samestat(os.fstat(descriptor), os.stat(cgroup.directories()[""]))
    finally:
        os.close(descriptor)


def test_controllers_are_switched_on_where_the_tree_has_them(cgroup: Cgroup) -> None:
    document = parse_resources({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]})
    available = Path(ROOTS[0], "cgroup.controllers").read_text().split()
    if "hugetlb" not in available:
        with pytest.raises(NotSupportedError, match="controller hugetlb"):
            cgroup.create(document)
        return
    cgroup.create(document)
    limit = Path(cgroup.directories()[""], "hugetlb.2MB.max").read_text()
    assert limit.strip() == str(4 << 20)


def test_time_is_accounted(cgroup: Cgroup) -> None:
    cgroup.create(parse_resources({}))
    with spinner(cgroup):
        wait_until(lambda: cgroup.stats().cpu.usage_ns > 0)
