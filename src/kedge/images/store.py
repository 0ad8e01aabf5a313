"""The image store: what images there are, what they are called, and what keeps them alive.

Joins the records (what is known), the content store (blobs) and the snapshots (layers unpacked).
Order of every write: blobs and snapshots first, then one transaction; of every removal: the
transaction first. So a crash leaves garbage that `ImageStore.collect_garbage` removes, never an
image with a part missing. Every method is thread-safe and may block on disk.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import Final

from kedge.content.leases import Lease
from kedge.content.store import Collected, ContentStore
from kedge.errdefs import DataLossError, InvalidParameterError, NotFoundError
from kedge.images.image import (
    HistoryItem,
    Image,
    Layer,
    NewLayer,
    Removed,
    Users,
    parse_created,
)
from kedge.images.listing import image_history, select_images
from kedge.images.lookup import resolve_id
from kedge.images.records import ImageRecords, ImageRow
from kedge.images.removal import ImageRemoval, RemovalSteps
from kedge.images.unpack import LayerSnapshots, PlannedLayer, Unpacker
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.lib.database import Database
from kedge.lib.filters import Filters
from kedge.oci import media_types
from kedge.oci.digests import HEX_LENGTHS, is_digest
from kedge.oci.hashing import chain_ids, sha256_digest
from kedge.oci.image_spec import (
    Descriptor,
    ImageConfig,
    Manifest,
    RootFS,
    encode_document,
    parse_image_config,
)
from kedge.oci.references import Reference

_CACHED_CONFIGS: Final = 4096
_NO_FILTERS: Final = Filters({})


class ImageStore:
    """All images of one engine."""

    def __init__(
        self,
        database: Database,
        content: ContentStore,
        snapshots: LayerSnapshots,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._content = content
        self._records = ImageRecords(database)
        self._clock = clock
        self._unpacker = Unpacker(snapshots, self._records, content.leases)
        self._configs: dict[str, ImageConfig] = {}
        self._removals = threading.Lock()

    @property
    def content(self) -> ContentStore:
        """Where the blobs are."""
        return self._content

    @property
    def unpacker(self) -> Unpacker:
        """What turns layers into snapshots."""
        return self._unpacker

    def lease(self) -> Lease:
        """Return a lease that protects blobs and chain ids until an image refers to them."""
        return self._content.lease()

    # ---------------------------------------------------------------- looking up

    def get(self, image_id: str) -> Image:
        """Return the image of a full id.

        Raises:
            NotFoundError: There is none.
        """
        image = self.find(image_id)
        if image is None:
            raise NotFoundError(f"No such image: {image_id}")
        return image

    def find(self, image_id: str) -> Image | None:
        """Return the image of a full id, or None.

        Raises:
            DataLossError: Its config is damaged; such an image can still be listed and removed.
        """
        row = self._records.row(image_id)
        return self._load(row, self._config(row.id)) if row else None

    def resolve(self, text: str) -> Image:
        """Return the image a user means: a name, a name by digest, an id or its beginning.

        Raises:
            NotFoundError: ``No such image: …``, Docker's text.
            InvalidParameterError: No name at all, or the beginning of several ids.
            DataLossError: The image is damaged.
        """
        return self.get(resolve_id(self._records, text))

    def list_images(
        self, filters: Filters = _NO_FILTERS, *, all_images: bool = False
    ) -> list[Image]:
        """Return images, newest first.

        Args:
            filters: Docker's keys: dangling, label, before, since, reference, until.
            all_images: Also untagged images that are parents of others.

        Raises:
            InvalidParameterError: A filter makes no sense.
            NotFoundError: ``before`` or ``since`` names no image.
        """
        # Three queries for all of them: with thousands of images, some for each take seconds.
        rows, layers = self._records.all_rows(), self._records.all_layers()
        names = self._records.all_names()
        return select_images(
            (
                _make_image(
                    row, self._even_damaged(row.id), layers.get(row.id, ()), names.get(row.id, ())
                )
                for row in rows
            ),
            filters,
            parents=self._records.parents(),
            resolve=self.resolve,
            clock=self._clock,
            all_images=all_images,
        )

    def has(self, image_id: str) -> bool:
        """Tell whether there is an image of this full id."""
        return self._records.row(image_id) is not None

    def has_layer(self, chain_id: str) -> bool:
        """Tell whether an image has the layer of this chain id."""
        return self._records.has_chain(chain_id)

    def id_of(self, name: Reference) -> str | None:
        """Return the id of the image that a tag or a name by digest names, or None."""
        return self._records.named(name.with_default_tag())

    def tags_of(self, repository: Reference) -> list[tuple[Reference, str]]:
        """Return the tags of a repository, each with its image id."""
        return self._records.tags_of(repository)

    def repositories_with(self, digest: str) -> list[Reference]:
        """Return names by digest of images that keep a blob: where registries have it."""
        return self._records.names_keeping(digest)

    def kept_blobs(self, image_id: str) -> list[str]:
        """Return the digests of all blobs the image keeps, documents among them."""
        return self._records.blobs(image_id)

    def known_as(self, image_id: str, name: Reference) -> None:
        """Record under which digest a registry has the image, if the image is still there."""
        if self.has(image_id):
            self._records.add_name(name, image_id)

    def children(self, image_id: str) -> list[str]:
        """Return the ids of the images built on this one, step by step."""
        return self._records.children(image_id)

    def history(self, image: Image) -> list[HistoryItem]:
        """Return the image's history, newest step first."""
        return image_history(image, self.find)

    def config_bytes(self, image_id: str) -> bytes:
        """Return the config as it was stored; its digest is ``image_id``."""
        return self._content.read(image_id)

    def shared_bytes(self) -> dict[str, int]:
        """Return, by image id, the bytes of its layers that other images have too, where any."""
        return self._records.shared_bytes()

    def total_layer_bytes(self) -> int:
        """Return the bytes of all images' layers, each layer counted once."""
        return self._records.total_layer_bytes()

    # ---------------------------------------------------------------- making

    def create_image(
        self,
        config: ImageConfig,
        layers: Sequence[NewLayer],
        *,
        parent: str = "",
        names: Iterable[Reference] = (),
    ) -> Image:
        """Store an image that was made here: by a build, a commit or an import.

        The caller holds a `lease` on the layers' blobs and chain ids. Making the same image twice
        gives the same image.

        Args:
            config: Its digest becomes the id; ``rootfs`` must list the layers' diff_ids.
            layers: Base layer first.
            parent: Id of the image the step started from.
            names: Tags it gets; they leave whatever image has them.

        Raises:
            InvalidParameterError: The config lists other layers.
        """
        with self.lease() as lease:
            data = encode_document(config)
            image_id = self._put(lease, data)
            manifest = self._write_manifest(lease, image_id, len(data), layers)
            return self.add(image_id, layers, manifest=manifest, parent=parent, names=names)

    def add(
        self,
        image_id: str,
        layers: Sequence[NewLayer],
        *,
        manifest: Descriptor | None = None,
        blobs: Iterable[str] = (),
        parent: str = "",
        names: Iterable[Reference] = (),
    ) -> Image:
        """Record an image whose config, blobs and manifest are in the content store.

        Args:
            image_id: Digest of its config.
            layers: Base layer first.
            manifest: The manifest that refers to config and layers.
            blobs: What else must stay as long as the image, such as the index it came from.
            parent: Id of the image a build step started from.
            names: Tags and names by digest.

        Raises:
            InvalidParameterError: The config lists other layers.
        """
        config = self._config(image_id)
        diff_ids = [layer.diff_id for layer in layers]
        if diff_ids != config.rootfs.diff_ids:
            raise InvalidParameterError(
                f"image {image_id} lists {len(config.rootfs.diff_ids)} layers in its config"
                f" that are not the {len(diff_ids)} layers given"
            )
        stored = [
            Layer(diff_id=layer.diff_id, chain_id=chain_id, blob=layer.blob)
            for layer, chain_id in zip(layers, chain_ids(diff_ids), strict=True)
        ]
        for layer in stored:
            self._unpacker.size_bytes(layer.chain_id)
        keep = {image_id, *blobs, *(layer.blob.digest for layer in layers if layer.blob)}
        if manifest:
            keep.add(manifest.digest)
        names = tuple(name.with_default_tag() for name in names)
        self._content.flush_names()
        row = ImageRow(
            id=image_id,
            parent=parent,
            manifest=manifest,
            created_ns=parse_created(config.created),
            tagged_ns=self._clock.time_ns() if names else 0,
        )
        self._records.put(row, stored, blobs=keep, names=names)
        return self.get(image_id)

    def tag(self, image_id: str, name: Reference) -> None:
        """Let ``name`` name the image; the image that had the name before may become untagged.

        Raises:
            InvalidParameterError: ``name`` names a digest or reads like one.
            NotFoundError: There is no such image.
        """
        if name.digest:
            raise InvalidParameterError("refusing to create a tag with a digest reference")
        name = name.with_default_tag()
        if name.familiar_name in HEX_LENGTHS:
            raise InvalidParameterError(
                "refusing to create an ambiguous tag using digest algorithm as name"
            )
        self.get(image_id)
        self._records.name(name, image_id, self._clock.time_ns())

    def unpack(self, image: Image) -> str:
        """Ensure that every layer is there as a snapshot; return the top one's name.

        Raises:
            NotFoundError: A layer is neither unpacked nor stored.
            DataLossError: A stored layer is damaged.
        """
        with self.lease() as lease:
            lease.add(*(layer.chain_id for layer in image.layers))
            below = ""
            for layer in image.layers:
                if not self._unpacker.has(layer.chain_id):
                    self._unpack_stored(layer, below)
                below = layer.chain_id
        return below

    # ---------------------------------------------------------------- removing

    def remove(
        self, text: str, *, users: Users, force: bool = False, prune: bool = True
    ) -> Removed:
        """Remove a name, or the image with everything only it needs, by Docker's rules.

        Args:
            text: A name unties that name and removes the image with its last name; an id removes
                the image.
            users: Tells which containers were made from an image.
            force: Remove although stopped containers or several names use it.
            prune: Also remove untagged parents.

        Raises:
            ConflictError: Something uses it; Docker's text.
            NotFoundError: No such image.
        """
        steps = RemovalSteps(
            get=self._find_even_damaged,
            children=self._records.children,
            unname=self._records.unname,
            delete=self._delete,
        )
        with self._removals:
            image = self._find_even_damaged(resolve_id(self._records, text))
            if image is None:
                raise NotFoundError(f"No such image: {text}")
            removed = ImageRemoval(steps, users).run(text, image, force=force, prune=prune)
        if removed.deleted_ids:
            self._unpacker.purge()
        return removed

    def collect_garbage(self) -> Collected:
        """Remove what a crash, a failed pull or a forced removal left behind.

        Safe while pulls and builds are running: they hold leases.
        """
        self._unpacker.remove_leftovers()
        self._content.remove_stale_ingests(self._clock.time_ns())
        return self._content.collect(self._records.all_blobs)

    # ---------------------------------------------------------------- parts

    def _load(self, row: ImageRow, config: ImageConfig) -> Image:
        return _make_image(row, config, self._records.layers(row.id), self._records.names(row.id))

    def _find_even_damaged(self, image_id: str) -> Image | None:
        """Find an image for a removal, which a damaged config must not prevent."""
        row = self._records.row(image_id)
        return None if row is None else self._load(row, self._even_damaged(image_id))

    def _even_damaged(self, image_id: str) -> ImageConfig:
        try:
            return self._config(image_id)
        except DataLossError:
            return ImageConfig(rootfs=RootFS())

    def _config(self, image_id: str) -> ImageConfig:
        config = self._configs.get(image_id)
        if config is None:
            try:
                data = self._content.read(image_id)
            except NotFoundError as error:
                raise DataLossError(
                    f"config of image {image_id} is missing: remove the image and get it again"
                ) from error
            config = parse_image_config(data)
            if len(self._configs) >= _CACHED_CONFIGS:
                self._configs.clear()
            self._configs[image_id] = config
        return config

    def _put(self, lease: Lease, data: bytes) -> str:
        digest = sha256_digest(data)
        lease.add(digest)
        return self._content.put(data, durable_name=False)

    def _write_manifest(
        self, lease: Lease, image_id: str, config_size: int, layers: Sequence[NewLayer]
    ) -> Descriptor | None:
        blobs = [layer.blob for layer in layers if layer.blob is not None]
        if len(blobs) != len(layers):
            return None
        manifest = Manifest(
            schema_version=2,
            media_type=media_types.OCI_MANIFEST,
            config=Descriptor(media_types.OCI_CONFIG, image_id, config_size),
            layers=blobs,
        )
        data = encode_document(manifest)
        return Descriptor(media_types.OCI_MANIFEST, self._put(lease, data), len(data))

    def _unpack_stored(self, layer: Layer, below: str) -> None:
        blob = layer.blob
        if blob is None or not is_digest(blob.digest):
            raise NotFoundError(f"layer {layer.chain_id} is gone: get its image again")
        planned = PlannedLayer(layer.diff_id, layer.chain_id, below)
        self._unpacker.unpack(planned, lambda: self._content.open(blob.digest))

    def _delete(self, image: Image) -> tuple[list[str], int]:
        """Forget the image, then free its layers, top first, and its blobs."""
        blobs = self._records.blobs(image.id)
        self._records.delete(image.id)
        self._configs.pop(image.id, None)
        freed = 0
        removed: list[str] = []
        for layer in reversed(image.layers):
            if not self._unpacker.remove_unused(layer.chain_id):
                break
            removed.append(layer.chain_id)
            freed += layer.size_bytes
        for digest in blobs:
            with self._content.leases.unless_held(digest) as free:
                if free and not self._records.has_blob(digest):
                    self._content.remove(digest)
        return removed, freed


def _make_image(
    row: ImageRow, config: ImageConfig, layers: tuple[Layer, ...], names: Sequence[Reference]
) -> Image:
    return Image(
        id=row.id,
        config=config,
        layers=layers,
        parent=row.parent,
        manifest=row.manifest,
        tags=tuple(name for name in names if not name.digest),
        digests=tuple(name for name in names if name.digest),
        created_ns=row.created_ns,
        last_tagged_ns=row.tagged_ns,
    )
