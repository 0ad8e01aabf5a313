"""The build cache: key to layer, with what is needed to explain a hit or a miss later.

A record points at a snapshot (by chain id) and a blob; both are leased for as long as the record
stands, so that no garbage collection takes them. A record whose layer is gone is no hit.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, cast

from kedge.content.leases import Lease
from kedge.images.layering import LayerRecord
from kedge.lib.database import Database, Row
from kedge.oci.image_spec import Descriptor

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS build_cache (
        key TEXT PRIMARY KEY,
        step TEXT NOT NULL,
        parent TEXT NOT NULL,
        diff_id TEXT NOT NULL,
        chain_id TEXT NOT NULL,
        blob_type TEXT NOT NULL,
        blob_digest TEXT NOT NULL,
        blob_size INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        created_ns INTEGER NOT NULL,
        last_used_ns INTEGER NOT NULL,
        uses INTEGER NOT NULL,
        inputs TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS build_cache_times (
        key TEXT PRIMARY KEY,
        duration_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS build_cache_evicted (
        key TEXT PRIMARY KEY,
        evicted_ns INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)
_MOST_EVICTED: Final = 10_000
_COLUMNS: Final = (
    "key, step, parent, diff_id, chain_id, blob_type, blob_digest, blob_size, size_bytes, "
    "created_ns, last_used_ns, uses, inputs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecord:
    """One remembered step."""

    key: str
    step: str
    """The instruction, as the history has it."""
    parent: str
    """Chain id below; empty for the first layer."""
    diff_id: str
    chain_id: str
    blob: Descriptor
    size_bytes: int
    """Bytes of the layer's tar."""
    created_ns: int
    last_used_ns: int
    uses: int = 0
    inputs: str
    """The canonical JSON the key is the hash of."""

    @property
    def layer(self) -> LayerRecord:
        """The layer as a stage takes it."""
        return LayerRecord(
            diff_id=self.diff_id,
            chain_id=self.chain_id,
            blob=self.blob,
            created_ns=self.created_ns,
        )


class BuildCache:
    """The records of one engine; thread-safe."""

    def __init__(self, database: Database, new_lease: Callable[[], Lease]) -> None:
        """Open the cache and lease what its records point at."""
        self._database = database
        self._new_lease = new_lease
        self._lock = threading.Lock()
        database.ensure_schema(_SCHEMA)
        self._lease = self._lease_all()

    def find(self, key: str) -> CacheRecord | None:
        """Return the record of ``key``, whether its layer is still there or not."""
        row = self._database.query_one(f"SELECT {_COLUMNS} FROM build_cache WHERE key=?", (key,))  # noqa: S608
        return None if row is None else _record(row)

    def siblings(self, parent: str) -> list[str]:
        """Return the key documents of steps on ``parent``, the last used first."""
        rows = self._database.query(
            "SELECT inputs FROM build_cache WHERE parent=? ORDER BY last_used_ns DESC LIMIT 200",
            (parent,),
        )
        return [str(row[0]) for row in rows]

    def put(self, record: CacheRecord) -> None:
        """Remember a step; an older record of the same key is replaced.

        A power cut may lose that, as it may lose the layer: then the step is carried out again.
        """
        with self._lock:
            # Before the transaction: who frees blobs asks the store while nothing can be leased.
            self._lease.add(record.chain_id, record.blob.digest)
            self._write(record)

    def _write(self, record: CacheRecord) -> None:
        marks = ", ".join("?" * len(_COLUMNS.split(",")))
        with self._database.transaction(durable=False):
            self._database.execute(
                f"INSERT OR REPLACE INTO build_cache ({_COLUMNS}) VALUES ({marks})",  # noqa: S608
                (
                    record.key,
                    record.step,
                    record.parent,
                    record.diff_id,
                    record.chain_id,
                    record.blob.media_type,
                    record.blob.digest,
                    record.blob.size,
                    record.size_bytes,
                    record.created_ns,
                    record.last_used_ns,
                    record.uses,
                    record.inputs,
                ),
            )

    def touch(self, keys: Iterable[str], now_ns: int) -> None:
        """Note that these records were used; a power cut may lose that."""
        with self._database.transaction(durable=False):
            for key in keys:
                self._database.execute(
                    "UPDATE build_cache SET last_used_ns=?, uses=uses+1 WHERE key=?", (now_ns, key)
                )

    def note_duration(self, key: str, duration_ms: int) -> None:
        """Remember how long the step took; a power cut may lose that."""
        with self._database.transaction(durable=False):
            self._database.execute(
                "INSERT OR REPLACE INTO build_cache_times VALUES (?, ?)", (key, duration_ms)
            )

    def duration_ms(self, key: str) -> int:
        """Return how long the step took when it was carried out; 0 where nobody knows."""
        row = self._database.query_one(
            "SELECT duration_ms FROM build_cache_times WHERE key=?", (key,)
        )
        return cast("tuple[int]", row)[0] if row else 0

    def evicted_ns(self, key: str) -> int:
        """Return when the step's record was removed; 0 for one that never was."""
        row = self._database.query_one(
            "SELECT evicted_ns FROM build_cache_evicted WHERE key=?", (key,)
        )
        return cast("tuple[int]", row)[0] if row else 0

    def forget(self, *keys: str, now_ns: int) -> None:
        """Remove records; a garbage collection then frees the layers nobody else needs.

        That they were here once is known for as long as ten thousand others have not gone since.
        """
        with self._lock:
            with self._database.transaction():
                for key in keys:
                    self._database.execute("DELETE FROM build_cache WHERE key=?", (key,))
                    self._database.execute("DELETE FROM build_cache_times WHERE key=?", (key,))
                    self._database.execute(
                        "INSERT OR REPLACE INTO build_cache_evicted VALUES (?, ?)", (key, now_ns)
                    )
                self._database.execute(
                    "DELETE FROM build_cache_evicted WHERE key NOT IN (SELECT key FROM "
                    "build_cache_evicted ORDER BY evicted_ns DESC LIMIT ?)",
                    (_MOST_EVICTED,),
                )
            old, self._lease = self._lease, self._lease_all()
            old.release()

    def _lease_all(self) -> Lease:
        lease = self._new_lease()
        for record in self.records():
            lease.add(record.chain_id, record.blob.digest)
        return lease

    def records(self) -> list[CacheRecord]:
        """Return all records, the least recently used first."""
        rows = self._database.query(f"SELECT {_COLUMNS} FROM build_cache ORDER BY last_used_ns")  # noqa: S608
        return [_record(row) for row in rows]


def _record(row: Row) -> CacheRecord:
    texts = cast("tuple[str, ...]", row)
    numbers = cast("tuple[int, ...]", row)
    return CacheRecord(
        key=texts[0],
        step=texts[1],
        parent=texts[2],
        diff_id=texts[3],
        chain_id=texts[4],
        blob=Descriptor(texts[5], texts[6], numbers[7]),
        size_bytes=numbers[8],
        created_ns=numbers[9],
        last_used_ns=numbers[10],
        uses=numbers[11],
        inputs=texts[12],
    )
