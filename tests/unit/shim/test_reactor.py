"""When a reactor says that nothing has happened."""

import os

from kedge.shim.reactor import READABLE, Reactor


def test_quiet_is_told_once_until_something_happens() -> None:
    reactor = Reactor()
    told: list[str] = []
    reads, writes = os.pipe()
    reactor.watch(reads, READABLE, lambda _events: told.append(os.read(reads, 9).decode()))
    reactor.when_quiet(0, lambda: told.append("quiet"))
    reactor.run_once()
    assert told == ["quiet"]
    os.write(writes, b"a")
    reactor.run_once()
    reactor.run_once()
    assert told == ["quiet", "a", "quiet"]
    # What falls due is something, too.
    reactor.call_later(0, lambda: told.append("due"))
    known = [reactor.has_timers]
    reactor.run_once()
    known.append(reactor.has_timers)
    reactor.run_once()
    assert known == [True, False]
    assert told == ["quiet", "a", "quiet", "due", "quiet"]
    os.close(reads)
    os.close(writes)


def test_a_cancelled_timer_is_none() -> None:
    reactor = Reactor()
    reactor.call_later(1000, lambda: None).cancel()
    assert not reactor.has_timers
