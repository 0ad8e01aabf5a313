import os

from kedge.linux import scheduling


def test_personality_is_set_to_the_present_one() -> None:
    with open("/proc/self/personality", encoding="ascii") as file:
        present = int(file.read(), 16)
    scheduling.set_personality(present)
    with open("/proc/self/personality", encoding="ascii") as file:
        assert int(file.read(), 16) == present


def test_the_scheduler_keeps_what_it_is_given() -> None:
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    scheduling.set_scheduler(os.SCHED_OTHER, flags=0, nice=nice, priority=0, times_ns=(0, 0, 0))
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    assert os.getpriority(os.PRIO_PROCESS, 0) == nice
