"""The timers of restart policies, under a clock that only moves when somebody waits."""

import asyncio
from collections.abc import Callable

from kedge.api.types.config import ContainerConfig, HostConfig, RestartPolicy
from kedge.engine.containers import Container, ContainerIndex
from kedge.engine.healthrules import HealthRecord, HealthStatus
from kedge.engine.record import ContainerRecord, RecordStore
from kedge.engine.restarts import Restarts
from kedge.engine.state import Status
from kedge.errdefs import KedgeError, NotFoundError, SystemFailureError
from kedge.lib.database import Database

MS = 1_000_000


class World:
    """One container with a policy, a clock, and a start that does as it is told."""

    def __init__(self, policy: str = "always", status: Status = Status.RUNNING) -> None:
        self.now_ns = 1_000 * MS
        self.waits_ms: list[int] = []
        self.starts = 0
        self.failures: list[KedgeError] = []
        self.forever = False
        self.store = RecordStore(Database(":memory:"))
        self.index = ContainerIndex(self.store)
        record = ContainerRecord(
            id="1" * 64, name="box", created_ns=1, image_id="sha256:1", path="sh", args=[],
            config=ContainerConfig(),
            host_config=HostConfig(restart_policy=RestartPolicy(name=policy)),
            status=status, started_ns=self.now_ns,
        )  # fmt: skip
        self.store.save(record)
        self.box = self.index.add(record)
        self.restarts = Restarts(self.index, self.start, clock=self, sleep=self.sleep)

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    async def sleep(self, seconds: float) -> None:
        self.waits_ms.append(round(seconds * 1000))
        self.now_ns += round(seconds * 1e9)
        if self.forever:
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    async def start(self, container: Container) -> None:
        assert container.lock.locked()
        self.starts += 1
        if self.failures:
            raise self.failures.pop(0)
        container.record.note_start(7, self.now_ns)
        container.become(Status.RUNNING)

    def end(self, code: int = 1) -> bool:
        record = self.box.record
        record.exit_code, record.finished_ns = code, self.now_ns
        planned = self.restarts.plan(self.box)
        self.box.become(Status.RESTARTING if planned else Status.EXITED)
        if planned:
            self.restarts.schedule(self.box)
        return planned

    def saved(self) -> ContainerRecord:
        (record,) = self.store.load_all()
        return record

    async def settle(self, done: Callable[[], bool]) -> None:
        for _ in range(200):
            if done():
                return
            await asyncio.sleep(0)
        raise AssertionError("it never happened")


def test_it_waits_longer_each_time_and_counts() -> None:
    async def main() -> None:
        world = World()
        for number in range(1, 4):
            assert world.end()
            assert world.saved().status is Status.RESTARTING
            await world.settle(lambda: world.box.record.status is Status.RUNNING)
            assert world.saved().restart_count == number
        assert world.waits_ms == [100, 200, 400]
        world.now_ns += 10_000 * MS
        assert world.end()
        await world.settle(lambda: world.box.record.status is Status.RUNNING)
        assert world.waits_ms[-1] == 100

    asyncio.run(main())


def test_a_stop_during_the_wait_is_the_end() -> None:
    async def main() -> None:
        world = World()
        world.forever = True
        assert world.end(3)
        await world.settle(lambda: bool(world.waits_ms))
        exited = world.box.exited
        async with world.box.lock:
            assert await world.restarts.cancel(world.box)
            assert not await world.restarts.cancel(world.box)
        assert await exited == 3
        assert (world.saved().status, world.saved().stopped_by_user) == (Status.EXITED, True)
        assert world.starts == 0

    asyncio.run(main())


def test_what_cannot_start_is_left_and_what_the_host_refuses_is_tried_again() -> None:
    async def main() -> None:
        world = World()
        world.failures = [SystemFailureError("no space"), SystemFailureError("no space")]
        assert world.end()
        await world.settle(lambda: world.box.record.status is Status.RUNNING)
        assert (world.starts, world.waits_ms) == (3, [100, 200, 400])
        assert world.saved().restart_count == 1
        world.failures = [NotFoundError("no such program")]
        exited = world.box.exited
        assert world.end()
        await world.settle(lambda: world.box.record.status is Status.EXITED)
        assert exited.done()
        assert world.saved().finished_ns == world.now_ns

    asyncio.run(main())


def test_another_engine_waits_for_the_rest_only() -> None:
    async def main() -> None:
        world = World(status=Status.RESTARTING)
        record = world.box.record
        record.backoff_ms, record.restart_at_ns = 800, world.now_ns + 300 * MS
        await world.restarts.resume()
        await world.settle(lambda: record.status is Status.RUNNING)
        assert world.waits_ms == [300]
        # A clock that was set back makes nobody wait for more than was planned.
        world = World(status=Status.RESTARTING)
        record = world.box.record
        record.backoff_ms, record.restart_at_ns = 800, world.now_ns + 10**15
        await world.restarts.resume()
        await world.settle(lambda: record.status is Status.RUNNING)
        assert world.waits_ms == [800]

    asyncio.run(main())


def test_an_engine_that_ends_starts_nothing() -> None:
    async def main() -> None:
        world = World()
        world.forever = True
        assert world.end()
        await world.restarts.close()
        assert world.starts == 0
        assert world.saved().status is Status.RESTARTING
        later = World()
        later.restarts.hold()
        assert not later.end()
        assert later.saved().status is Status.EXITED

    asyncio.run(main())


def test_containers_come_back_with_the_engine() -> None:
    async def main() -> None:
        for policy, status, comes in (
            ("always", Status.EXITED, True),
            ("always", Status.CREATED, True),
            ("on-failure", Status.EXITED, False),
            ("no", Status.EXITED, False),
        ):
            world = World(policy, status)
            world.box.record.restart_count = 5
            await world.restarts.resume()
            assert (world.starts == 1) is comes, policy
            assert world.box.record.status is (Status.RUNNING if comes else status)
            assert world.box.record.restart_count == (0 if comes else 5)

    asyncio.run(main())


class Stack(World):
    """The box and a database that it depends on, both down since the machine was."""

    def __init__(self, condition: str = "service_healthy") -> None:
        super().__init__(status=Status.EXITED)
        labels = {"com.docker.compose.project": "p", "com.docker.compose.service": "db"}
        record = ContainerRecord(
            id="2" * 64, name="db", created_ns=1, image_id="sha256:1", path="sh", args=[],
            config=ContainerConfig(labels=labels), host_config=self.box.record.host_config,
            status=Status.EXITED,
        )  # fmt: skip
        self.store.save(record)
        self.db = self.index.add(record)
        depends_on = f"db:{condition}:false"
        self.box.record.config.labels.update(
            {"com.docker.compose.project": "p", "com.docker.compose.depends_on": depends_on}
        )
        self.warnings: list[str] = []
        self.started: list[str] = []
        self.restarts = Restarts(
            self.index, self.start, clock=self, sleep=self.sleep, warn=self.warnings.append
        )

    async def start(self, container: Container) -> None:
        self.started.append(container.name)
        await super().start(container)
        if container is self.db:
            container.record.health = HealthRecord()

    async def sleep(self, seconds: float) -> None:
        if seconds:
            await super().sleep(seconds)


def test_who_depends_on_a_healthy_one_waits_for_that() -> None:
    async def main() -> None:
        stack = Stack()
        stack.forever = True
        resuming = asyncio.ensure_future(stack.restarts.resume())
        await stack.settle(lambda: stack.db.record.status is Status.RUNNING)
        await stack.settle(lambda: stack.box.record.error == "waiting for db to be healthy")
        assert stack.box.record.status is Status.RESTARTING
        assert stack.db.record.health is not None
        stack.db.record.health.status = HealthStatus.HEALTHY
        stack.db.changes.tell()
        await resuming
        assert (stack.started, stack.warnings) == (["db", "box"], [])
        assert stack.box.record.error == ""

    asyncio.run(main())


def test_no_wait_lasts_for_ever() -> None:
    async def main() -> None:
        stack = Stack()
        await stack.restarts.resume()
        assert stack.started == ["db", "box"]
        assert stack.waits_ms == [60_000]
        assert stack.warnings == [
            "container box waited for db to be healthy: not within 60 s: it is started anyway"
        ]

    asyncio.run(main())


def test_whom_nobody_starts_nobody_waits_for() -> None:
    async def main() -> None:
        stack = Stack("service_completed_successfully")
        stack.forever = True
        stack.db.record.host_config = HostConfig()
        await stack.restarts.resume()
        assert stack.started == ["box"]
        assert stack.warnings == [
            "container box waited for db to complete: is down: it is started anyway"
        ]

    asyncio.run(main())


def test_who_cannot_start_keeps_nobody_waiting() -> None:
    async def main() -> None:
        stack = Stack("service_started")
        stack.forever = True
        stack.failures = [NotFoundError("no such program")]
        await stack.restarts.resume()
        assert stack.started == ["db", "box"]
        assert stack.box.record.status is Status.RUNNING
        assert len(stack.warnings) == 1

    asyncio.run(main())


def test_a_stop_during_the_wait_for_others_is_the_end_of_it() -> None:
    async def main() -> None:
        stack = Stack()
        stack.forever = True
        resuming = asyncio.ensure_future(stack.restarts.resume())
        await stack.settle(lambda: stack.box.record.error != "")
        async with stack.box.lock:
            assert await stack.restarts.cancel(stack.box)
        await resuming
        assert stack.started == ["db"]
        assert (stack.box.record.status, stack.box.record.error) == (Status.EXITED, "")

    asyncio.run(main())


def test_what_ends_while_an_engine_takes_over_starts_in_its_turn() -> None:
    async def main() -> None:
        world = World()
        world.restarts.gather()
        assert world.end()
        await asyncio.sleep(0)
        assert (world.starts, world.waits_ms) == (0, [])
        await world.restarts.resume()
        assert world.starts == 1
        assert world.waits_ms == [100]

    asyncio.run(main())
