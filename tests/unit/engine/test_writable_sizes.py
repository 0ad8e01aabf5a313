"""When a size that was counted still holds."""

import asyncio
from typing import cast

from kedge.api.types.config import ContainerConfig, HostConfig
from kedge.engine.containers import Container
from kedge.engine.record import ContainerRecord, RecordStore
from kedge.engine.state import Status
from kedge.engine.writablesizes import WritableSizes


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _container(status: Status) -> Container:
    async def make() -> Container:
        record = ContainerRecord(
            id="a" * 64, name="box", created_ns=1, path="sh", args=[], status=status,
            image_id="sha256:" + "0" * 64, config=ContainerConfig(), host_config=HostConfig(),
        )  # fmt: skip
        return Container(record, cast("RecordStore", None))

    return asyncio.run(make())


def test_the_size_of_a_stopped_container_holds_until_it_may_have_changed() -> None:
    hand, container = Hand(), _container(Status.EXITED)
    sizes = WritableSizes(hand)
    assert sizes.find(container) is None
    sizes.begin(container)(7)
    hand.now_s += 1e6
    assert sizes.find(container) == 7
    container.copies_in += 1
    assert sizes.find(container) is None
    sizes.begin(container)(8)
    container.record.finished_ns += 1
    assert sizes.find(container) is None


def test_the_size_of_a_running_container_holds_for_long_where_counting_is_slow() -> None:
    hand, container = Hand(), _container(Status.RUNNING)
    sizes = WritableSizes(hand)
    sizes.begin(container)(7)
    hand.now_s += 0.9
    assert sizes.find(container) == 7
    hand.now_s += 0.2
    assert sizes.find(container) is None
    put = sizes.begin(container)
    hand.now_s += 3
    put(8)
    hand.now_s += 59
    assert sizes.find(container) == 8
    hand.now_s += 2
    assert sizes.find(container) is None


def test_a_change_while_counting_is_not_missed_and_what_is_gone_is_forgotten() -> None:
    container = _container(Status.EXITED)
    sizes = WritableSizes(Hand())
    put = sizes.begin(container)
    container.copies_in += 1
    put(7)
    assert sizes.find(container) is None
    sizes.begin(container)(8)
    assert sizes.find(container) == 8
    sizes.keep(frozenset())
    assert sizes.find(container) is None
