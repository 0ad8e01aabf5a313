"""What a state directory tells of a container whose process has died."""

import os
import subprocess
from pathlib import Path

from kedge.oci.runtime_spec import parse_spec
from kedge.runtime.spec_template import spec_document
from kedge.runtime.state import Container, Record, StateDirectory, start_time_of


def _container(root: Path, pid: int, start_time: int) -> Container:
    record = Record(pid, start_time, bundle=str(root), cgroup_path="", created_ns=1)
    return Container(StateDirectory(str(root), "c"), record, parse_spec(spec_document()))


def test_a_process_is_alive_while_it_is_the_recorded_one(tmp_path: Path) -> None:
    me = os.getpid()
    assert _container(tmp_path, me, start_time_of(me)).is_alive()
    assert not _container(tmp_path, me, start_time_of(me) + 1).is_alive()


def test_a_process_that_died_before_it_was_recorded_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not _container(tmp_path, child.pid, start_time_of(child.pid)).is_alive()
    assert not _container(tmp_path, child.pid, 0).is_alive()
