from kedge.distribution.progress import DOWNLOADING, PullEvent, Reporter

DIGEST = "sha256:" + "0123456789ab" + "0" * 52


class HandClock:
    def __init__(self) -> None:
        self.now = 0.0

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now


def test_counts_come_ten_times_a_second_and_at_the_end() -> None:
    events: list[PullEvent] = []
    clock = HandClock()
    reporter = Reporter(events.append, clock)
    for current in range(1, 101):
        reporter.count(DOWNLOADING, DIGEST, current, 100)
        clock.now += 0.01
    assert 9 <= len(events) <= 12
    assert events[0] == PullEvent(DOWNLOADING, "0123456789ab", 1, 100)
    assert events[-1] == PullEvent(DOWNLOADING, "0123456789ab", 100, 100)


def test_layers_do_not_wait_for_each_other() -> None:
    events: list[PullEvent] = []
    reporter = Reporter(events.append, HandClock())
    reporter.count(DOWNLOADING, "sha256:a", 1, 9)
    reporter.count(DOWNLOADING, "sha256:b", 1, 9)
    reporter.line("Pulling from library/redis", "7")
    reporter.layer("Pull complete", "sha256:a")
    assert [event.id for event in events] == ["a", "b", "7", "a"]
