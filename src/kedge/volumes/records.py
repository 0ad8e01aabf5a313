"""The table of volumes. Every write joins the transaction it is called in."""

import json
from collections.abc import Mapping
from typing import Final

from kedge.lib.database import Database, Value
from kedge.lib.jsontypes import Json
from kedge.volumes.model import Volume

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS volumes (
        name TEXT PRIMARY KEY, driver TEXT NOT NULL, created_ns INTEGER NOT NULL,
        labels TEXT NOT NULL, options TEXT NOT NULL
    ) WITHOUT ROWID""",
)


class VolumeRecords:
    """Rows of volumes; the truth about which there are."""

    def __init__(self, database: Database) -> None:
        """Open the table, making it when it is not there."""
        self.database = database
        database.ensure_schema(_SCHEMA)

    def load_all(self) -> list[Volume]:
        """Return all volumes in the order of their names."""
        rows = self.database.query(
            "SELECT name, driver, created_ns, labels, options FROM volumes ORDER BY name"
        )
        return [
            Volume(
                name=str(name),
                driver=str(driver),
                created_ns=created_ns if isinstance(created_ns, int) else 0,
                labels=_parse(labels),
                options=_parse(options),
            )
            for name, driver, created_ns, labels, options in rows
        ]

    def insert(self, volume: Volume) -> None:
        """Add a volume whose name is free."""
        self.database.execute(
            "INSERT INTO volumes VALUES (?, ?, ?, ?, ?)",
            (
                volume.name,
                volume.driver,
                volume.created_ns,
                json.dumps(dict(volume.labels)),
                json.dumps(dict(volume.options)),
            ),
        )

    def delete(self, name: str) -> None:
        """Forget a volume."""
        self.database.execute("DELETE FROM volumes WHERE name = ?", (name,))


def describe(volume: Volume) -> str:
    """Return what a volume's folder says about it, for the day the metadata store is lost."""
    return json.dumps(
        {
            "name": volume.name,
            "driver": volume.driver,
            "created_ns": volume.created_ns,
            "labels": dict(volume.labels),
            "options": dict(volume.options),
        }
    )


def parse_description(name: str, text: str) -> Volume:
    """Return the volume that `describe` described; a folder with less is a plain volume."""
    try:
        found: Json = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return Volume(name=name)
    created_ns = found.get("created_ns")
    return Volume(
        name=name,
        driver=str(found.get("driver") or "local"),
        created_ns=created_ns if isinstance(created_ns, int) else 0,
        labels=_texts(found.get("labels")),
        options=_texts(found.get("options")),
    )


def _parse(text: Value) -> Mapping[str, str]:
    found: Json = json.loads(str(text))
    return _texts(found)


def _texts(found: Json) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}
