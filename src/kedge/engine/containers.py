"""The containers of this engine in memory: found by id, prefix or name; one lock for each.

`Container` joins the record that survives with what lives only as long as the process: the shim's
connection, the waiters, the exec sessions. All of it belongs to the event loop's thread.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Final, Protocol

from kedge.engine.links import parse_link
from kedge.engine.names import random_name
from kedge.engine.record import ContainerRecord, RecordStore
from kedge.engine.state import Status, follow
from kedge.errdefs import (
    ConflictError,
    InvalidParameterError,
    NotFoundError,
    SystemFailureError,
)
from kedge.lib.ids import short_id
from kedge.shim.client import Shim

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class WaitingSession(Protocol):
    """A client that attached before there was a process."""

    async def hand_over(self, shim: Shim) -> int:
        """Give the session to the shim."""
        ...

    def close(self) -> None:
        """End the session."""
        ...


class Changes:
    """Wakes everybody who waits for any container to change its status or health."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._next: asyncio.Future[None] | None = None

    def tell(self) -> None:
        """Wake those who wait now."""
        waiting, self._next = self._next, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def next(self) -> "asyncio.Future[None]":
        """Return what is done with the next change after this call; it is shared: do not cancel."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        return self._next


class Container:
    """One container: its record, its shim while it runs, and who waits for it."""

    def __init__(
        self, record: ContainerRecord, store: RecordStore, changes: Changes | None = None
    ) -> None:
        """Wrap ``record``; nothing is written."""
        self.record = record
        self.lock = asyncio.Lock()
        self.shim: Shim | None = None
        self.exec_ids: list[str] = []
        self.waiting_attaches: list[WaitingSession] = []
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.removed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.outlives_exit = False
        """Whether ``--rm`` does not apply to the next exit: a restart or a removal causes it."""
        self.copies_in = 0
        """How often something was copied into it since this process knows it."""
        self.is_gone = False
        """Whether it has been removed; it has no record any more, and gets none."""
        self.is_settled = True
        """Off while a full disk keeps the last exit from the record, or the addresses taken."""
        self._store = store
        self.changes = changes or Changes()

    @property
    def id(self) -> str:
        """The 64-digit id."""
        return self.record.id

    @property
    def name(self) -> str:
        """The name without a slash."""
        return self.record.name

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncGenerator[ContainerRecord]:
        """Hold the lock, to change a container that somebody may have removed meanwhile.

        Raises:
            NotFoundError: Somebody has.
        """
        async with self.lock:
            self._check_is_there()
            yield self.record

    def _check_is_there(self) -> None:
        if self.is_gone:
            raise NotFoundError(f"No such container: {self.id}")

    def become(self, status: Status, *, durable: bool = False) -> None:
        """Change the status by the state machine's table and write the record.

        Raises:
            ConflictError: The table forbids it.
            NotFoundError: It has been removed.
        """
        self._check_is_there()
        before = self.record.status
        self.record.status = follow(before, status, container=self.name)
        try:
            self._store.save(self.record, durable=durable)
        except BaseException:
            self.record.status = before
            raise
        self.changes.tell()

    def arrive(self, status: Status, *, durable: bool = False) -> bool:
        """Take down a status that is a fact already; tell whether it is on record, too.

        A full disk keeps it from the record, and then from the next engine, which looks for itself.
        Clients must not wait for that.
        """
        try:
            self.become(status, durable=durable)
        except SystemFailureError:
            self.record.status = status
            self.changes.tell()
            return False
        return True

    def save(self, *, durable: bool = False) -> None:
        """Write the record as it is.

        Raises:
            NotFoundError: It has been removed.
        """
        self._check_is_there()
        self._store.save(self.record, durable=durable)

    def announce_exit(self) -> None:
        """Wake everybody who waits for the next exit."""
        waiting, self.exited = self.exited, asyncio.get_running_loop().create_future()
        if not waiting.done():
            waiting.set_result(self.record.exit_code)
        self.changes.tell()

    def drop_waiting(self) -> None:
        """End the sessions that wait for a process which will not come."""
        waiting, self.waiting_attaches = self.waiting_attaches, []
        for session in waiting:
            session.close()

    def announce_removal(self) -> None:
        """Wake everybody who waits for the removal."""
        self.drop_waiting()
        for waiting in (self.exited, self.removed):
            if not waiting.done():
                waiting.set_result(self.record.exit_code)
        self.changes.tell()


class ContainerIndex:
    """All containers; names and ids are unique."""

    def __init__(self, store: RecordStore) -> None:
        """Start empty; `kedge.engine.restore` fills it."""
        self.store = store
        self.changes = Changes()
        self._by_id: dict[str, Container] = {}
        self._by_name: dict[str, str] = {}

    def __iter__(self) -> Iterator[Container]:
        """Walk a copy, so that a container may go meanwhile."""
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        """How many containers there are."""
        return len(self._by_id)

    def __contains__(self, container_id: str) -> bool:
        """Whether the full id exists."""
        return container_id in self._by_id

    def add(self, record: ContainerRecord) -> Container:
        """Take up a container whose record is saved."""
        container = Container(record, self.store, self.changes)
        self._by_id[record.id] = container
        self._by_name[record.name] = record.id
        return container

    def discard(self, container: Container) -> None:
        """Forget a container."""
        container.is_gone = True
        self._by_id.pop(container.id, None)
        self._by_name.pop(container.name, None)

    def rename(self, container: Container, name: str) -> None:
        """Give ``container`` the free name ``name``; the caller saves it."""
        self.check_name(name)
        self._by_name.pop(container.name, None)
        container.record.name = name
        self._by_name[name] = container.id

    def find(self, container_id: str) -> Container | None:
        """Return the container with this full id, if there is one."""
        return self._by_id.get(container_id)

    def get(self, reference: str) -> Container:
        """Return the container with this id, name or unique id prefix, in Docker's order.

        Raises:
            NotFoundError: There is none.
            InvalidParameterError: The prefix fits several.
        """
        reference = reference.removeprefix("/")
        if reference in self._by_id:
            return self._by_id[reference]
        by_name = self._by_name.get(reference) or self._linked_id(reference)
        if by_name is not None:
            return self._by_id[by_name]
        found = [
            item for key, item in self._by_id.items() if reference and key.startswith(reference)
        ]
        if len(found) > 1:
            raise InvalidParameterError(
                f"multiple IDs found with provided prefix: {reference}: give more digits"
            )
        if not found:
            raise NotFoundError(f"No such container: {reference}")
        return found[0]

    def _linked_id(self, reference: str) -> str | None:
        """Return what ``web/store`` means: the container web is linked to under that alias."""
        parent, slash, alias = reference.partition("/")
        holder = self._by_id.get(self._by_name.get(parent, "")) if slash else None
        for text in holder.record.host_config.links or () if holder is not None else ():
            # Links of other networks than the default bridge name no id, and no container here.
            target, name = parse_link(text)
            if name == alias and target in self._by_id:
                return target
        return None

    def display_name(self, container_id: str) -> str:
        """Return what people call a container, for messages about it."""
        found = self._by_id.get(container_id)
        return found.name if found is not None else short_id(container_id)

    def check_name(self, name: str) -> None:
        """Raise unless ``name`` is well-formed and free.

        Raises:
            InvalidParameterError: Other characters than Docker allows.
            ConflictError: Another container has it; Docker's text.
        """
        if not _NAME.fullmatch(name):
            raise InvalidParameterError(
                f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )
        holder = self._by_name.get(name)
        if holder is not None:
            raise ConflictError(
                f'Conflict. The container name "/{name}" is already in use by container '
                f'"{holder}". You have to remove (or rename) that container to be able to reuse '
                "that name."
            )

    def new_name(self) -> str:
        """Return a free name of the kind Docker makes up: an adjective and a person."""
        while True:
            name = random_name()
            if name not in self._by_name:
                return name
