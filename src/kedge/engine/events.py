"""The engine's event log: a bounded memory of what happened, and everybody who listens.

Vocabulary and attributes as in moby's ``daemon/events``. The legacy fields (``status``, ``id``,
``from``) are filled, because clients before API 1.52 crash without them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Final

from kedge.api.options import EventsOptions
from kedge.api.types.system import Event, EventActor
from kedge.lib.clock import Clock
from kedge.lib.filters import Filters

_REMEMBERED: Final = 1024
# A listener that reads nothing loses events rather than filling the engine's memory.
_QUEUE_LIMIT: Final = 4096

_LEGACY: Final = frozenset({"container", "image"})
_KEYS: Final = (
    "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin",
    "scope", "secret", "service", "type", "volume",
)  # fmt: skip


class EventBus:
    """Publishes events to listeners and keeps the last ones for ``--since``."""

    def __init__(self, clock: Clock) -> None:
        """Start with an empty memory."""
        self._clock = clock
        self._past: deque[Event] = deque(maxlen=_REMEMBERED)
        self._listeners: set[asyncio.Queue[Event]] = set()

    @property
    def listener_count(self) -> int:
        """How many clients are listening."""
        return len(self._listeners)

    def publish(
        self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str] | None = None
    ) -> None:
        """Record an event and hand it to every listener.

        Args:
            kind: ``container``, ``image``, ``network``, ``volume``, ``builder`` or ``daemon``.
            action: What happened, such as ``start`` or ``exec_create: sh``.
            actor_id: The object's id or, for an image, its reference.
            attributes: Labels and facts about the object.
        """
        now = self._clock.time_ns()
        facts = dict(attributes or {})
        event = Event(
            type=kind,
            action=action,
            actor=EventActor(id=actor_id, attributes=facts),
            scope="local",
            time=now // 1_000_000_000,
            time_nano=now,
        )
        if kind in _LEGACY:
            event.status, event.id, event.from_ = action, actor_id, facts.get("image", "")
        self._past.append(event)
        for queue in self._listeners:
            if queue.qsize() < _QUEUE_LIMIT:
                queue.put_nowait(event)

    def listen(self, options: EventsOptions) -> AsyncIterator[Event]:
        """Return past and future events; the listener is registered when this returns.

        Raises:
            InvalidParameterError: An unknown filter.
        """
        options.filters.check_keys(_KEYS)
        queue: asyncio.Queue[Event] = asyncio.Queue()
        past = [] if options.since_ns is None else list(self._past)
        self._listeners.add(queue)
        return self._deliver(queue, past, options)

    async def _deliver(
        self, queue: asyncio.Queue[Event], past: list[Event], options: EventsOptions
    ) -> AsyncIterator[Event]:
        try:
            for event in past:
                if event.time_nano >= (options.since_ns or 0) and _wanted(event, options):
                    yield event
            while (new := await self._next(queue, options.until_ns)) is not None:
                if _wanted(new, options):
                    yield new
        finally:
            self._listeners.discard(queue)

    async def _next(self, queue: asyncio.Queue[Event], until_ns: int | None) -> Event | None:
        if until_ns is None:
            return await queue.get()
        left = (until_ns - self._clock.time_ns()) / 1e9
        try:
            async with asyncio.timeout(max(left, 0)):
                return await queue.get()
        except TimeoutError:
            return None


def _wanted(event: Event, options: EventsOptions) -> bool:
    if options.until_ns is not None and event.time_nano > options.until_ns:
        return False
    filters = options.filters
    # `exec_create: sh` is asked for as `exec_create`.
    verb = event.action.partition(":")[0]
    return (
        filters.matches_exactly("type", event.type)
        and (
            filters.matches_exactly("event", event.action) or filters.matches_exactly("event", verb)
        )
        and filters.matches_exactly("scope", event.scope)
        and filters.matches_labels(event.actor.attributes)
        and all(
            _names_actor(filters, kind, event)
            for kind in ("container", "image", "network", "volume", "daemon")
        )
    )


def _names_actor(filters: Filters, kind: str, event: Event) -> bool:
    if kind not in filters:
        return True
    if event.type != kind:
        return False
    name = event.actor.attributes.get("name", "")
    return any(
        value == name or event.actor.id.startswith(value) or event.actor.id == value
        for value in filters.get(kind)
    )
