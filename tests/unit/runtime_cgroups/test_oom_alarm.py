from pathlib import Path

import pytest

from kedge.runtime.cgroups.oom_alarm import OomAlarm


def test_version_two_tells_of_kills_alone(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("oom 0\noom_kill 1\n")
    alarm = OomAlarm({"": str(tmp_path)})
    try:
        assert not alarm.take()
        events.write_text("high 9\noom 0\noom_kill 1\n")
        assert not alarm.take()
        events.write_text("high 9\noom 1\noom_kill 2\n")
        assert alarm.take()
        assert not alarm.take()
    finally:
        alarm.close()


@pytest.mark.parametrize("directories", [{"": "/nowhere"}, {"cpu": "/nowhere"}])
def test_a_cgroup_without_memory_cannot_be_watched(directories: dict[str, str]) -> None:
    with pytest.raises(OSError, match="No such file"):
        OomAlarm(directories)
