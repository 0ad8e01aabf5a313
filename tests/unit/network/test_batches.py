"""Work that is done in the background, all that waits at once."""

import threading

from kedge.network.batches import Batches


class Worker:
    """Work that goes on when it is told to."""

    def __init__(self, patience: int | None = None) -> None:
        self.done: list[list[str]] = []
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.batches = Batches[str]("worker", self.work, patience=patience)

    def work(self, items: list[str]) -> None:
        self.begun.set()
        assert self.gate.wait(20)
        self.done.append(items)


def test_what_waits_while_the_thread_works_is_done_together_and_once() -> None:
    worker = Worker()
    worker.batches.submit(["a"])
    assert worker.begun.wait(20)
    worker.batches.submit(["b", "c"])
    worker.batches.submit(["c", "d"])
    assert not worker.batches.drain(0)
    worker.gate.set()
    assert worker.batches.drain()
    assert worker.done == [["a"], ["b", "c", "d"]]
    worker.batches.close()


def test_what_nobody_waits_for_goes_along_with_the_next_or_when_it_is_too_much() -> None:
    worker = Worker(patience=2)
    worker.gate.set()
    worker.batches.submit(["a"], soon=False)
    assert worker.batches.drain()
    assert worker.done == []
    worker.batches.submit(["b"])
    assert worker.batches.drain()
    assert worker.done == [["a", "b"]]
    worker.batches.submit(["c", "d", "e"], soon=False)
    assert worker.batches.drain()
    assert worker.done[1:] == [["c", "d", "e"]]
    worker.batches.close()


def test_the_end_waits_for_what_is_wanted_and_takes_nothing_more() -> None:
    worker = Worker()
    worker.batches.submit(["a"])
    worker.gate.set()
    worker.batches.close()
    worker.batches.submit(["late"])
    assert worker.done == [["a"]]
    idle = Worker()
    idle.batches.submit([])
    idle.batches.close()
    assert idle.done == []
