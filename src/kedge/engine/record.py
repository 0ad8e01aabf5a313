"""What the engine remembers about a container, and the table it is kept in.

A record is written before the thing it speaks of exists and changed after the thing has changed,
so that whatever a crash leaves behind is known to `kedge.engine.restore`.
"""

import msgspec
from msgspec import field

from kedge.api.types.config import (
    ContainerConfig,
    EndpointSettings,
    HostConfig,
    PortBinding,
)
from kedge.api.types.container import MountPoint
from kedge.engine.healthrules import HealthRecord, begin_health
from kedge.engine.mountplan import MountPlan
from kedge.engine.state import ALIVE, Status
from kedge.lib.database import Database

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS containers (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        record BLOB NOT NULL
    ) WITHOUT ROWID""",
)


class ContainerRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One container; times in nanoseconds since the epoch, 0 for never."""

    id: str
    name: str
    created_ns: int
    image_id: str
    path: str
    args: list[str]
    config: ContainerConfig
    host_config: HostConfig
    networks: dict[str, EndpointSettings] = field(default_factory=dict[str, EndpointSettings])
    mac_addresses: dict[str, str] = field(default_factory=dict[str, str])
    """Those the user has chosen, by network; `networks` shows the ones in use."""
    ports: dict[str, list[PortBinding] | None] = field(
        default_factory=dict[str, list[PortBinding] | None]
    )
    mounts: list[MountPoint] = field(default_factory=list[MountPoint])
    mount_plans: list[MountPlan] = field(default_factory=list[MountPlan])
    takes_volumes: bool = False
    """Its removal takes its anonymous volumes along."""
    status: Status = Status.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    restart_count: int = 0
    """How often the policy has started it since a person did."""
    backoff_ms: int = 0
    """The wait before the latest start by the policy, or before the next one."""
    restart_at_ns: int = 0
    stopped_by_user: bool = False
    health: HealthRecord | None = None

    @property
    def alive(self) -> bool:
        """Whether a process exists."""
        return self.status in ALIVE

    @property
    def active(self) -> bool:
        """Whether a process exists or is about to; what Docker calls running."""
        return self.alive or self.status is Status.RESTARTING

    def note_start(self, pid: int, at_ns: int) -> None:
        """Take down that a process runs; what is known of an earlier one goes."""
        self.pid, self.started_ns = pid, at_ns
        self.error, self.exit_code, self.oom_killed = "", 0, False
        self.stopped_by_user = False
        self.health = begin_health(self.config, self.health)

    @property
    def snapshot_key(self) -> str:
        """The name of the container's writable layer."""
        return f"container-{self.id}"


class RecordStore:
    """The table of records; every write is one transaction."""

    def __init__(self, database: Database) -> None:
        """Open the table, making it when it is not there."""
        self._database = database
        database.ensure_schema(_SCHEMA)
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(ContainerRecord)

    def load_all(self) -> list[ContainerRecord]:
        """Return all records, oldest first."""
        rows = self._database.query("SELECT record FROM containers")
        records = [self._decoder.decode(row[0]) for row in rows if isinstance(row[0], bytes)]
        return sorted(records, key=lambda record: record.created_ns)

    def save(self, record: ContainerRecord, *, durable: bool = True) -> None:
        """Insert or replace ``record``.

        Args:
            record: The container.
            durable: Flush to disk. A status change may be lost with a power cut, because then
                the container is gone as well.
        """
        with self._database.transaction(durable=durable):
            self._database.execute(
                "INSERT INTO containers VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record",
                (record.id, record.name, self._encoder.encode(record)),
            )

    def delete(self, container_id: str) -> None:
        """Forget a container."""
        self._database.execute("DELETE FROM containers WHERE id = ?", (container_id,))
