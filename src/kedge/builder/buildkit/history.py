"""The last builds, as ``buildx history`` and the links after a build ask for them.

Source: BuildKit's ``ListenBuildHistory`` and ``UpdateBuildHistory``. Kept in memory only: a restart
forgets them, as it ends the builds. What a record points to in BuildKit's content store, its trace
and attestations, is not kept; its log is the status of the build, as long as that is known.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final, NamedTuple

from kedge.builder.buildkit.messages import EXPORTER, STATUS, TIMESTAMP
from kedge.builder.buildkit.wire import Field, Kind, Many, Record, Schema, Value
from kedge.errdefs import ConflictError, NotFoundError
from kedge.lib.clock import SYSTEM_CLOCK, Clock

_MOST: Final = 100
_BILLION: Final = 1_000_000_000
_STARTED, _COMPLETE, _DELETED = range(3)

HISTORY_REQUEST: Final = Schema(
    "BuildHistoryRequest",
    {
        1: Field("ActiveOnly", Kind.BOOLEAN),
        2: Field("Ref", Kind.STRING),
        3: Field("EarlyExit", Kind.BOOLEAN),
        4: Field("Filter", Kind.STRING, Many.LIST),
        5: Field("Limit", Kind.INTEGER),
    },
)
HISTORY_UPDATE: Final = Schema(
    "UpdateBuildHistoryRequest",
    {
        1: Field("Ref", Kind.STRING),
        2: Field("Pinned", Kind.BOOLEAN),
        3: Field("Delete", Kind.BOOLEAN),
        4: Field("Finalize", Kind.BOOLEAN),
    },
)
_RECORD: Final = Schema(
    "BuildHistoryRecord",
    {
        1: Field("Ref", Kind.STRING),
        2: Field("Frontend", Kind.STRING),
        3: Field("FrontendAttrs", Kind.STRING, Many.MAP),
        4: Field("Exporters", Kind.MESSAGE, Many.LIST, EXPORTER),
        5: Field("error", Kind.MESSAGE, schema=STATUS),
        6: Field("CreatedAt", Kind.MESSAGE, schema=TIMESTAMP),
        7: Field("CompletedAt", Kind.MESSAGE, schema=TIMESTAMP),
        9: Field("ExporterResponse", Kind.STRING, Many.MAP),
        12: Field("Generation", Kind.INTEGER),
        14: Field("pinned", Kind.BOOLEAN),
        15: Field("numCachedSteps", Kind.INTEGER),
        16: Field("numTotalSteps", Kind.INTEGER),
        17: Field("numCompletedSteps", Kind.INTEGER),
        19: Field("numWarnings", Kind.INTEGER),
    },
)
HISTORY_EVENT: Final = Schema(
    "BuildHistoryEvent",
    {
        1: Field("type", Kind.INTEGER),
        2: Field("record", Kind.MESSAGE, schema=_RECORD),
    },
)


class Steps(NamedTuple):
    """How a build went, in numbers."""

    cached: int = 0
    total: int = 0
    completed: int = 0
    warnings: int = 0


class History:
    """The builds of one engine, the oldest forgotten first. Belongs to the event loop."""

    def __init__(self, forget: Callable[[str], None], clock: Clock = SYSTEM_CLOCK) -> None:
        """Begin empty.

        Args:
            forget: Called with the reference of a build that is forgotten.
            clock: Where times come from.
        """
        self._forget = forget
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._listeners: set[asyncio.Queue[Record]] = set()

    def started(
        self, ref: str, *, frontend: str, attrs: Mapping[str, str], exporters: list[Value]
    ) -> None:
        """Begin a record; it stays until `_MOST` later builds have begun."""
        self._records[ref] = {
            "Ref": ref,
            "Frontend": frontend,
            "FrontendAttrs": dict(attrs),
            "Exporters": exporters,
            "CreatedAt": self._now(),
            "Generation": 1,
        }
        self._tell(_STARTED, self._records[ref])
        done = [each for each, record in self._records.items() if _may_go(record)]
        for old in done[: max(0, len(self._records) - _MOST)]:
            self._remove(old)

    def described(self, ref: str, frontend: str, attrs: Mapping[str, str]) -> None:
        """Note what a build is of, which a gateway's client says after its start."""
        record = self._records.get(ref)
        if record is not None and not record["Frontend"]:
            record |= {"Frontend": frontend, "FrontendAttrs": dict(attrs)}

    def completed(
        self, ref: str, steps: Steps, *, response: Mapping[str, str], error: Record | None = None
    ) -> None:
        """End a record."""
        record = self._records.get(ref)
        if record is None:
            return
        record |= {
            "CompletedAt": self._now(),
            "ExporterResponse": dict(response),
            "numCachedSteps": steps.cached,
            "numTotalSteps": steps.total,
            "numCompletedSteps": steps.completed,
            "numWarnings": steps.warnings,
            "Generation": 2,
        }
        if error is not None:
            record["error"] = error
        self._tell(_COMPLETE, record)

    def keeps(self, ref: str) -> bool:
        """Say whether a build is in the history."""
        return ref in self._records

    def update(self, ref: str, *, pinned: bool, delete: bool, finalize: bool) -> None:
        """Pin, unpin or remove a record.

        Raises:
            NotFoundError: There is none.
            ConflictError: The build still runs.
        """
        record = self._records.get(ref)
        if record is None:
            raise NotFoundError(f"no such build in the history: {ref}")
        if delete and "CompletedAt" not in record:
            raise ConflictError(f"build {ref} still runs: cancel it first")
        if delete:
            self._remove(ref)
        elif not finalize:
            record["pinned"] = pinned

    async def listen(
        self, *, ref: str, active_only: bool, early_exit: bool, limit: int
    ) -> AsyncGenerator[Record]:
        """Yield what is known, the newest last, then what happens unless ``early_exit``."""
        queue: asyncio.Queue[Record] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            fitting = [
                record
                for record in self._records.values()
                if ref in ("", record["Ref"]) and not (active_only and "CompletedAt" in record)
            ]
            for record in fitting[-limit:] if limit > 0 else fitting:
                yield _event(_COMPLETE if "CompletedAt" in record else _STARTED, record)
            while not early_exit:
                event = await queue.get()
                told = event["record"]
                if isinstance(told, dict) and ref in ("", told["Ref"]):
                    yield event
        finally:
            self._listeners.discard(queue)

    def _remove(self, ref: str) -> None:
        self._tell(_DELETED, self._records.pop(ref))
        self._forget(ref)

    def _tell(self, kind: int, record: Record) -> None:
        for queue in self._listeners:
            queue.put_nowait(_event(kind, record))

    def _now(self) -> dict[str, Value]:
        seconds, nanos = divmod(self._clock.time_ns(), _BILLION)
        return {"seconds": seconds, "nanos": nanos}


def _may_go(record: Record) -> bool:
    return "CompletedAt" in record and not record.get("pinned")


def _event(kind: int, record: Record) -> Record:
    return {"type": kind, "record": dict(record)}
