"""Where a container stands, in its shim's eyes.

    creating ──▶ created ──▶ running ◀──▶ paused
        │           │  start fails │          │
        ▼           ▼              ▼          ▼
      (gone)      failed         exited ◀─────┘

- *creating* is synchronous: nothing is served until init waits or has failed.
- *created* belongs to the engine that asked for it. When that engine's connection closes before the
  word to start, nobody knows of the container, so it is killed and removed at once.
- *running* and *paused* need no engine at all.
- *exited*: the order is reap, read the pipes empty, close the log, write `exit.json`, tell. An
  engine that reads the status therefore finds the log complete. The shim stays, as the only one
  that remembers, until an engine says ``shutdown``.
- *failed*: start failed and the engine was told; nothing worth remembering is left.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a container stands, in the shim's eyes."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    EXITED = "exited"
