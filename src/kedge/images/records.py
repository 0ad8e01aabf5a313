"""The image tables of the metadata store; nobody else reads or writes them.

One row per image, one per layer of an image, one per name. Every change of an image and its
names is one transaction, made after its blobs and snapshots are safely on disk.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from kedge.images.image import Layer
from kedge.lib.database import Database, Row
from kedge.oci.image_spec import Descriptor
from kedge.oci.references import Reference, parse_reference

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS images (
        id TEXT PRIMARY KEY,
        parent TEXT NOT NULL,
        manifest_type TEXT NOT NULL,
        manifest_digest TEXT NOT NULL,
        manifest_size INTEGER NOT NULL,
        created_ns INTEGER NOT NULL,
        tagged_ns INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS image_layers (
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff_id TEXT NOT NULL,
        chain_id TEXT NOT NULL,
        blob_type TEXT NOT NULL,
        blob_digest TEXT NOT NULL,
        blob_size INTEGER NOT NULL,
        PRIMARY KEY (image_id, position)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS image_layers_by_chain ON image_layers(chain_id)",
    """CREATE TABLE IF NOT EXISTS image_blobs (
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        digest TEXT NOT NULL,
        PRIMARY KEY (image_id, digest)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS image_blobs_by_digest ON image_blobs(digest)",
    """CREATE TABLE IF NOT EXISTS image_names (
        name TEXT PRIMARY KEY,
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS image_names_by_image ON image_names(image_id)",
    """CREATE TABLE IF NOT EXISTS layer_sizes (
        chain_id TEXT PRIMARY KEY,
        size_bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)


class ImageRow(NamedTuple):
    """An image's own row."""

    id: str
    parent: str
    manifest: Descriptor | None
    created_ns: int
    tagged_ns: int


class ImageRecords:
    """Typed access to the image tables."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.ensure_schema(_SCHEMA)

    def put(
        self,
        row: ImageRow,
        layers: Sequence[Layer],
        *,
        blobs: Iterable[str],
        names: Iterable[Reference],
    ) -> None:
        """Record an image, or add to what is recorded of it, and let ``names`` name it.

        The manifest and blobs given last are the ones a push would use; those of earlier
        manifests are kept as long as the image.
        """
        manifest = row.manifest or Descriptor("", "", 0)
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET"
                " tagged_ns = max(tagged_ns, excluded.tagged_ns),"
                " parent = iif(parent = '', excluded.parent, parent),"
                " manifest_type = iif(excluded.manifest_digest = '', manifest_type,"
                "  excluded.manifest_type),"
                " manifest_size = iif(excluded.manifest_digest = '', manifest_size,"
                "  excluded.manifest_size),"
                " manifest_digest = iif(excluded.manifest_digest = '', manifest_digest,"
                "  excluded.manifest_digest)",
                (
                    row.id,
                    row.parent,
                    manifest.media_type,
                    manifest.digest,
                    manifest.size,
                    row.created_ns,
                    row.tagged_ns,
                ),
            )
            for position, layer in enumerate(layers):
                self._put_layer(row.id, position, layer)
            for digest in blobs:
                self._database.execute(
                    "INSERT OR IGNORE INTO image_blobs VALUES (?, ?)", (row.id, digest)
                )
            for name in names:
                self._put_name(name, row.id)

    def name(self, name: Reference, image_id: str, now_ns: int) -> None:
        """Let ``name`` name the image, whatever it named before."""
        with self._database.transaction():
            self._put_name(name, image_id)
            self._database.execute(
                "UPDATE images SET tagged_ns = ? WHERE id = ?", (now_ns, image_id)
            )

    def add_name(self, name: Reference, image_id: str) -> None:
        """Let ``name`` name the image, and leave the time of its last tag alone."""
        with self._database.transaction():
            self._put_name(name, image_id)

    def unname(self, name: Reference) -> None:
        """Forget ``name``."""
        self._database.execute("DELETE FROM image_names WHERE name = ?", (name.canonical(),))

    def delete(self, image_id: str) -> None:
        """Forget the image, its layers, its blobs and its names."""
        self._database.execute("DELETE FROM images WHERE id = ?", (image_id,))

    def row(self, image_id: str) -> ImageRow | None:
        """Return the image's own row."""
        found = self._database.query_one("SELECT * FROM images WHERE id = ?", (image_id,))
        return _image_row(found) if found else None

    def layers(self, image_id: str) -> tuple[Layer, ...]:
        """Return the image's layers, base layer first."""
        rows = self._database.query(
            "SELECT diff_id, chain_id, blob_type, blob_digest, blob_size,"
            " coalesce((SELECT size_bytes FROM layer_sizes s WHERE s.chain_id = l.chain_id), 0)"
            " FROM image_layers l WHERE image_id = ? ORDER BY position",
            (image_id,),
        )
        return tuple(_layer(row) for row in rows)

    def all_rows(self) -> list[ImageRow]:
        """Return every image's own row, newest image first."""
        rows = self._database.query("SELECT * FROM images ORDER BY created_ns DESC, id")
        return [_image_row(row) for row in rows]

    def all_layers(self) -> dict[str, tuple[Layer, ...]]:
        """Return the layers of every image that has some, base layer first, by image id."""
        rows = self._database.query(
            "SELECT image_id, diff_id, l.chain_id, blob_type, blob_digest, blob_size, size_bytes"
            " FROM image_layers l LEFT JOIN layer_sizes s ON s.chain_id = l.chain_id"
            " ORDER BY image_id, position"
        )
        found: dict[str, list[Layer]] = {}
        for image_id, *rest in rows:
            found.setdefault(str(image_id), []).append(_layer(tuple(rest)))
        return {image_id: tuple(layers) for image_id, layers in found.items()}

    def all_names(self) -> dict[str, list[Reference]]:
        """Return the tags and digest names of every image that has some, by image id."""
        found: dict[str, list[Reference]] = {}
        for image_id, name in self._database.query(
            "SELECT image_id, name FROM image_names ORDER BY name"
        ):
            found.setdefault(str(image_id), []).append(parse_reference(str(name)))
        return found

    def names(self, image_id: str) -> list[Reference]:
        """Return the tags and digest names of the image, in order of their text."""
        rows = self._database.query(
            "SELECT name FROM image_names WHERE image_id = ? ORDER BY name", (image_id,)
        )
        return [parse_reference(str(row[0])) for row in rows]

    def named(self, name: Reference) -> str | None:
        """Return the id that ``name``, in full, names."""
        row = self._database.query_one(
            "SELECT image_id FROM image_names WHERE name = ?", (name.canonical(),)
        )
        return str(row[0]) if row else None

    def ids_beginning(self, prefix: str) -> list[str]:
        """Return at most two ids that begin with ``prefix``, which holds an algorithm."""
        rows = self._database.query(
            "SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", (prefix, prefix + "g")
        )
        return [str(row[0]) for row in rows]

    def children(self, image_id: str) -> list[str]:
        """Return the ids of images whose parent is this one."""
        rows = self._database.query("SELECT id FROM images WHERE parent = ?", (image_id,))
        return [str(row[0]) for row in rows]

    def parents(self) -> frozenset[str]:
        """Return every id that is somebody's parent."""
        return frozenset(
            str(row[0]) for row in self._database.query("SELECT DISTINCT parent FROM images")
        )

    def blobs(self, image_id: str) -> list[str]:
        """Return the digests of everything the image keeps in the content store."""
        rows = self._database.query(
            "SELECT digest FROM image_blobs WHERE image_id = ?", (image_id,)
        )
        return [str(row[0]) for row in rows]

    def names_keeping(self, digest: str) -> list[Reference]:
        """Return the names by digest of all images that keep this blob."""
        rows = self._database.query(
            "SELECT name FROM image_names JOIN image_blobs USING (image_id)"
            " WHERE digest = ? AND instr(name, '@') ORDER BY name",
            (digest,),
        )
        return [parse_reference(str(row[0])) for row in rows]

    def tags_of(self, repository: Reference) -> list[tuple[Reference, str]]:
        """Return the tags of a repository, each with its image id, in order of their text."""
        prefix = f"{repository.name}:"
        rows = self._database.query(
            "SELECT name, image_id FROM image_names WHERE substr(name, 1, ?) = ? ORDER BY name",
            (len(prefix), prefix),
        )
        return [(parse_reference(str(row[0])), str(row[1])) for row in rows]

    def has_blob(self, digest: str) -> bool:
        """Tell whether an image keeps this blob."""
        query = "SELECT 1 FROM image_blobs WHERE digest = ? LIMIT 1"
        return self._database.query_one(query, (digest,)) is not None

    def all_blobs(self) -> frozenset[str]:
        """Return the digests of everything some image keeps."""
        rows = self._database.query("SELECT DISTINCT digest FROM image_blobs")
        return frozenset(str(row[0]) for row in rows)

    def has_chain(self, chain_id: str) -> bool:
        """Tell whether an image stands on this snapshot."""
        query = "SELECT 1 FROM image_layers WHERE chain_id = ? LIMIT 1"
        return self._database.query_one(query, (chain_id,)) is not None

    def layer_size(self, chain_id: str) -> int | None:
        """Return what was recorded by `put_layer_size`."""
        query = "SELECT size_bytes FROM layer_sizes WHERE chain_id = ?"
        row = self._database.query_one(query, (chain_id,))
        return int(row[0] or 0) if row else None

    def put_layer_size(self, chain_id: str, size_bytes: int) -> None:
        """Record how many bytes of files a layer adds."""
        with self._database.transaction(durable=False):
            self._database.execute(
                "INSERT OR REPLACE INTO layer_sizes VALUES (?, ?)", (chain_id, size_bytes)
            )

    def forget_layer_size(self, chain_id: str) -> None:
        """Forget a layer that is gone."""
        with self._database.transaction(durable=False):
            self._database.execute("DELETE FROM layer_sizes WHERE chain_id = ?", (chain_id,))

    def total_layer_bytes(self) -> int:
        """Return the bytes of all layers, shared ones counted once."""
        row = self._database.query_one(
            "SELECT coalesce(sum(size_bytes), 0) FROM layer_sizes"
            " WHERE chain_id IN (SELECT chain_id FROM image_layers)"
        )
        return int(row[0] or 0) if row else 0

    def shared_bytes(self) -> dict[str, int]:
        """Return, by image id, the bytes of its layers that another image has too, where any."""
        rows = self._database.query(
            "SELECT l.image_id, sum(s.size_bytes) FROM image_layers l"
            " JOIN layer_sizes s ON s.chain_id = l.chain_id"
            " WHERE l.chain_id IN (SELECT chain_id FROM image_layers GROUP BY chain_id"
            "  HAVING min(image_id) != max(image_id))"
            " GROUP BY l.image_id"
        )
        return {str(row[0]): int(row[1] or 0) for row in rows}

    def _put_layer(self, image_id: str, position: int, layer: Layer) -> None:
        blob = layer.blob or Descriptor("", "", 0)
        self._database.execute(
            "INSERT INTO image_layers VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT(image_id, position) DO UPDATE SET blob_type = excluded.blob_type,"
            " blob_digest = excluded.blob_digest, blob_size = excluded.blob_size"
            " WHERE excluded.blob_digest != ''",
            (
                image_id,
                position,
                layer.diff_id,
                layer.chain_id,
                blob.media_type,
                blob.digest,
                blob.size,
            ),
        )

    def _put_name(self, name: Reference, image_id: str) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO image_names VALUES (?, ?)", (name.canonical(), image_id)
        )


def _image_row(row: Row) -> ImageRow:
    image_id, parent, media_type, digest, size, created_ns, tagged_ns = row
    manifest = Descriptor(str(media_type), str(digest), int(size or 0)) if digest else None
    return ImageRow(str(image_id), str(parent), manifest, int(created_ns or 0), int(tagged_ns or 0))


def _layer(row: Row) -> Layer:
    diff_id, chain_id, media_type, digest, size, size_bytes = row
    return Layer(
        diff_id=str(diff_id),
        chain_id=str(chain_id),
        size_bytes=int(size_bytes or 0),
        blob=Descriptor(str(media_type), str(digest), int(size or 0)) if digest else None,
    )
