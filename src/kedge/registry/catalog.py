"""What a registry knows: repositories, the blobs in each, manifests, tags and references.

One SQLite file; a manifest, its references and its tags change in one transaction, so a crash
leaves the old state or the new one. Manifests are kept here with their bytes; blobs are files
elsewhere (`kedge.registry.store`). Reading never waits for a writer's flush: it has a
connection of its own.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, NamedTuple

from kedge.lib.database import Database, Row
from kedge.registry.documents import Document

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS registry_repositories (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)""",
    """CREATE TABLE IF NOT EXISTS registry_blobs (
        repository INTEGER NOT NULL REFERENCES registry_repositories, digest TEXT NOT NULL,
        size_bytes INTEGER NOT NULL, seen_ns INTEGER NOT NULL,
        PRIMARY KEY (repository, digest)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS registry_blobs_digest ON registry_blobs (digest)",
    """CREATE TABLE IF NOT EXISTS registry_manifests (
        repository INTEGER NOT NULL REFERENCES registry_repositories, digest TEXT NOT NULL,
        media_type TEXT NOT NULL, artifact_type TEXT NOT NULL, annotations TEXT NOT NULL,
        subject TEXT NOT NULL, pushed_ns INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (repository, digest))""",
    """CREATE INDEX IF NOT EXISTS registry_manifests_subject
        ON registry_manifests (repository, subject) WHERE subject != ''""",
    """CREATE TABLE IF NOT EXISTS registry_references (
        repository INTEGER NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (repository, manifest, digest)) WITHOUT ROWID""",
    """CREATE INDEX IF NOT EXISTS registry_references_digest
        ON registry_references (repository, digest)""",
    """CREATE TABLE IF NOT EXISTS registry_tags (
        repository INTEGER NOT NULL REFERENCES registry_repositories, name TEXT NOT NULL,
        digest TEXT NOT NULL, checked_ns INTEGER NOT NULL,
        PRIMARY KEY (repository, name)) WITHOUT ROWID""",
)

_FIND: Final = "(SELECT id FROM registry_repositories WHERE name = ?)"


class StoredBlob(NamedTuple):
    """A blob of one repository.

    Attributes:
        seen_ns: When it was pushed, or a client last looked whether it is there.
    """

    size_bytes: int
    seen_ns: int


class StoredManifest(NamedTuple):
    """A manifest with its bytes."""

    digest: str
    media_type: str
    data: bytes


class Referrer(NamedTuple):
    """A manifest that is about another one."""

    digest: str
    media_type: str
    size_bytes: int
    artifact_type: str
    annotations: dict[str, str]


class Catalog:
    """The records of one registry; thread-safe."""

    def __init__(self, path: str) -> None:
        """Open or create the file at ``path``."""
        self._writing = Database(path)
        self._writing.ensure_schema(_SCHEMA)
        self._reading = Database(path)

    def close(self) -> None:
        """Let go of the file."""
        self._reading.close()
        self._writing.close()

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Make the changes inside happen together or not at all."""
        with self._writing.transaction():
            yield

    def is_empty(self) -> bool:
        """Tell whether nothing was ever put in here."""
        return not self._reading.query("SELECT 1 FROM registry_repositories LIMIT 1")

    # Repositories and tags.

    def has_repository(self, repository: str) -> bool:
        """Tell whether anything was ever pushed there and not all removed."""
        return bool(
            self._reading.query(
                f"""SELECT 1 WHERE EXISTS (SELECT 1 FROM registry_blobs WHERE repository = {_FIND})
                OR EXISTS (SELECT 1 FROM registry_manifests WHERE repository = {_FIND})""",  # noqa: S608
                (repository, repository),
            )
        )

    def repositories(self, after: str, limit: int) -> list[str]:
        """Return names in lexical order, from behind ``after``; ``limit`` below 0 is all."""
        rows = self._reading.query(
            """SELECT name FROM registry_repositories WHERE name > ? AND EXISTS
            (SELECT 1 FROM registry_manifests WHERE repository = id) ORDER BY name LIMIT ?""",
            (after, limit),
        )
        return [str(row[0]) for row in rows]

    def tags(self, repository: str, after: str, limit: int) -> list[str]:
        """Return tags in lexical order, from behind ``after``; ``limit`` below 0 is all."""
        rows = self._reading.query(
            f"""SELECT name FROM registry_tags WHERE repository = {_FIND} AND name > ?
            ORDER BY name LIMIT ?""",  # noqa: S608
            (repository, after, limit),
        )
        return [str(row[0]) for row in rows]

    def tagged(self, repository: str, tag: str) -> tuple[str, int] | None:
        """Return a tag's digest and when it was set or last compared with its origin."""
        row = self._reading.query_one(
            f"""SELECT digest, checked_ns FROM registry_tags
            WHERE repository = {_FIND} AND name = ?""",  # noqa: S608
            (repository, tag),
        )
        return None if row is None else (str(row[0]), _integer(row, 1))

    def set_tag(self, repository: str, tag: str, digest: str, now_ns: int) -> None:
        """Point a tag at a manifest."""
        self._writing.execute(
            "INSERT OR REPLACE INTO registry_tags VALUES (?, ?, ?, ?)",
            (self._ensure(repository), tag, digest, now_ns),
        )

    def tags_of(self, repository: str, digest: str) -> list[str]:
        """Return the tags that point at a manifest."""
        rows = self._writing.query(
            f"SELECT name FROM registry_tags WHERE repository = {_FIND} AND digest = ?",  # noqa: S608
            (repository, digest),
        )
        return [str(row[0]) for row in rows]

    def remove_tag(self, repository: str, tag: str) -> bool:
        """Forget a tag; tell whether there was one."""
        return bool(
            self._writing.execute(
                f"DELETE FROM registry_tags WHERE repository = {_FIND} AND name = ?",  # noqa: S608
                (repository, tag),
            )
        )

    # Blobs.

    def blob(self, repository: str, digest: str) -> StoredBlob | None:
        """Return what is known of a blob that ``repository`` has."""
        row = self._reading.query_one(
            f"""SELECT size_bytes, seen_ns FROM registry_blobs
            WHERE repository = {_FIND} AND digest = ?""",  # noqa: S608
            (repository, digest),
        )
        return None if row is None else StoredBlob(_integer(row, 0), _integer(row, 1))

    def blob_sources(self, digest: str) -> list[str]:
        """Return every repository that has a blob."""
        rows = self._reading.query(
            """SELECT name FROM registry_blobs JOIN registry_repositories
            ON repository = id WHERE digest = ? ORDER BY name""",
            (digest,),
        )
        return [str(row[0]) for row in rows]

    def add_blob(self, repository: str, digest: str, size_bytes: int, now_ns: int) -> None:
        """Note that ``repository`` has a blob, now."""
        self._writing.execute(
            "INSERT OR REPLACE INTO registry_blobs VALUES (?, ?, ?, ?)",
            (self._ensure(repository), digest, size_bytes, now_ns),
        )

    def touch_blob(self, repository: str, digest: str, now_ns: int) -> None:
        """Note that a client has seen a blob and may soon refer to it."""
        with self._writing.transaction(durable=False):
            self._writing.execute(
                f"""UPDATE registry_blobs SET seen_ns = ?
                WHERE repository = {_FIND} AND digest = ?""",  # noqa: S608
                (now_ns, repository, digest),
            )

    def remove_blob(self, repository: str, digest: str) -> bool:
        """Take a blob out of a repository; tell whether it was there."""
        return bool(
            self._writing.execute(
                f"DELETE FROM registry_blobs WHERE repository = {_FIND} AND digest = ?",  # noqa: S608
                (repository, digest),
            )
        )

    def forget_blob(self, digest: str) -> None:
        """Take a blob out of every repository."""
        self._writing.execute("DELETE FROM registry_blobs WHERE digest = ?", (digest,))

    def blobs_seen(self) -> dict[str, int]:
        """Return when each blob was pushed, or asked for last, in any repository."""
        rows = self._reading.query(
            "SELECT digest, max(seen_ns) FROM registry_blobs GROUP BY digest"
        )
        return {str(row[0]): _integer(row, 1) for row in rows}

    def blob_digests(self) -> set[str]:
        """Return the digests of all blobs of all repositories."""
        return {str(row[0]) for row in self._writing.query("SELECT digest FROM registry_blobs")}

    def drop_unreferenced_blobs(self, before_ns: int) -> int:
        """Take out blobs no manifest of their repository needs and nobody saw since; count them."""
        return self._writing.execute(
            """DELETE FROM registry_blobs WHERE seen_ns < ? AND NOT EXISTS
            (SELECT 1 FROM registry_references r WHERE r.repository = registry_blobs.repository
            AND r.digest = registry_blobs.digest)""",
            (before_ns,),
        )

    # Manifests.

    def manifest(self, repository: str, digest: str) -> StoredManifest | None:
        """Return a manifest by its digest."""
        row = self._reading.query_one(
            f"""SELECT media_type, data FROM registry_manifests
            WHERE repository = {_FIND} AND digest = ?""",  # noqa: S608
            (repository, digest),
        )
        if row is None:
            return None
        data = row[1]
        assert isinstance(data, bytes)
        return StoredManifest(digest, str(row[0]), data)

    def missing(self, repository: str, document: Document) -> list[str]:
        """Return what ``document`` refers to and ``repository`` does not have."""
        absent = [d for d in document.blobs if self.blob(repository, d) is None]
        return absent + [d for d in document.children if self.manifest(repository, d) is None]

    def add_manifest(
        self, repository: str, digest: str, document: Document, data: bytes, now_ns: int
    ) -> None:
        """Keep a manifest and what it refers to."""
        number = self._ensure(repository)
        annotations = json.dumps(document.annotations)
        with self._writing.transaction():
            self._writing.execute(
                "INSERT OR REPLACE INTO registry_manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    number, digest, document.media_type, document.artifact_type, annotations,
                    document.subject, now_ns, data,
                ),
            )  # fmt: skip
            for referred in {*document.blobs, *document.children}:
                self._writing.execute(
                    "INSERT OR IGNORE INTO registry_references VALUES (?, ?, ?)",
                    (number, digest, referred),
                )

    def remove_manifest(self, repository: str, digest: str) -> bool:
        """Forget a manifest and the tags that point at it; tell whether it was there."""
        with self._writing.transaction():
            for table, column in (("registry_references", "manifest"), ("registry_tags", "digest")):
                self._writing.execute(
                    f"DELETE FROM {table} WHERE repository = {_FIND} AND {column} = ?",  # noqa: S608
                    (repository, digest),
                )
            return bool(
                self._writing.execute(
                    f"DELETE FROM registry_manifests WHERE repository = {_FIND} AND digest = ?",  # noqa: S608
                    (repository, digest),
                )
            )

    def referrers(self, repository: str, subject: str) -> list[Referrer]:
        """Return the manifests that are about ``subject``, oldest first."""
        rows = self._reading.query(
            f"""SELECT digest, media_type, length(data), artifact_type, annotations
            FROM registry_manifests WHERE repository = {_FIND} AND subject = ? AND subject != ''
            ORDER BY pushed_ns, digest""",  # noqa: S608
            (repository, subject),
        )
        return [
            Referrer(str(row[0]), str(row[1]), _integer(row, 2), str(row[3]), _texts(str(row[4])))
            for row in rows
        ]

    def untagged_manifests(self, before_ns: int) -> list[tuple[str, str]]:
        """Return repository and digest of what no tag, no index and no subject keeps."""
        rows = self._writing.query(
            """SELECT name, digest FROM registry_manifests m
            JOIN registry_repositories p ON m.repository = p.id
            WHERE pushed_ns < ?
            AND NOT EXISTS (SELECT 1 FROM registry_tags t
                WHERE t.repository = m.repository AND t.digest = m.digest)
            AND NOT EXISTS (SELECT 1 FROM registry_references r
                WHERE r.repository = m.repository AND r.digest = m.digest)
            AND NOT EXISTS (SELECT 1 FROM registry_manifests s
                WHERE s.repository = m.repository AND s.digest = m.subject)""",
            (before_ns,),
        )
        return [(str(row[0]), str(row[1])) for row in rows]

    def _ensure(self, repository: str) -> int:
        with self._writing.transaction():
            self._writing.execute(
                "INSERT OR IGNORE INTO registry_repositories (name) VALUES (?)", (repository,)
            )
            row = self._writing.query_one(
                "SELECT id FROM registry_repositories WHERE name = ?", (repository,)
            )
        assert row is not None
        return _integer(row, 0)


def _integer(row: Row, index: int) -> int:
    value = row[index]
    assert isinstance(value, int)
    return value


def _texts(text: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(text)
    return found
