"""The cache document: which keys lead to which layers. Pure.

The format is BuildKit's ``application/vnd.buildkit.cacheconfig.v0``: layers by position, each with
the one below it, and records with a key and the layer it leads to. The keys are the builder's own,
so every builder reads the layers of another and finds only its own keys. ``inline`` is the same
records in the image's configuration, with positions in the image's own layers.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import msgspec

from kedge.errdefs import InvalidParameterError
from kedge.images.image import parse_created
from kedge.lib.clock import format_rfc3339
from kedge.oci import media_types
from kedge.oci.digests import is_digest
from kedge.oci.hashing import chain_ids, sha256_digest
from kedge.oci.image_spec import Descriptor

T = TypeVar("T")

CACHE_CONFIG: Final = "application/vnd.buildkit.cacheconfig.v0"
UNCOMPRESSED: Final = "containerd.io/uncompressed"
CREATED_AT: Final = "buildkit/createdat"


class _Annotations(msgspec.Struct, omit_defaults=True, rename="camel"):
    media_type: str = ""
    diff_id: str = msgspec.field(name="diffID", default="")
    size: int = 0
    created_at: str = ""


class _Layer(msgspec.Struct, omit_defaults=True):
    blob: str = ""
    parent: int = 0
    annotations: _Annotations = msgspec.field(default_factory=_Annotations)


class _Result(msgspec.Struct):
    layer: int
    created_at: str = msgspec.field(name="createdAt", default="")


class _Input(msgspec.Struct, omit_defaults=True):
    selector: str = ""
    link: int = 0


class _Record(msgspec.Struct, omit_defaults=True):
    layers: list[_Result] = []
    digest: str = ""
    inputs: list[list[_Input]] = []


class _Config(msgspec.Struct, omit_defaults=True):
    layers: list[_Layer] = []
    records: list[_Record] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedLayer:
    """A layer in a cache."""

    diff_id: str
    chain_id: str
    parent: str
    """Chain id below; empty for a base layer."""
    blob: Descriptor
    created_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheContent:
    """What a cache holds."""

    layers: Sequence[CachedLayer] = ()
    """Each after the one below it."""
    keys: Mapping[str, str] = field(default_factory=dict[str, str])
    """Chain id of the result by key."""

    def find(self, key: str) -> CachedLayer | None:
        """Return the layer that ``key`` leads to."""
        chain_id = self.keys.get(key)
        return next((layer for layer in self.layers if layer.chain_id == chain_id), None)


def encode_cache(content: CacheContent) -> bytes:
    """Return the document of a cache of its own."""
    positions = {layer.chain_id: index for index, layer in enumerate(content.layers)}
    layers = [
        _Layer(
            blob=layer.blob.digest,
            parent=positions.get(layer.parent, -1),
            annotations=_Annotations(
                media_type=layer.blob.media_type,
                diff_id=layer.diff_id,
                size=layer.blob.size,
                created_at=format_rfc3339(layer.created_ns),
            ),
        )
        for layer in content.layers
    ]
    return msgspec.json.encode(_Config(layers=layers, records=_records(content, positions)))


def encode_inline(content: CacheContent, diff_ids: Sequence[str]) -> str:
    """Return the text for an image's configuration; empty when no key leads to its layers."""
    positions = {chain: index for index, chain in enumerate(chain_ids(list(diff_ids)))}
    records = _records(content, positions)
    return base64.b64encode(msgspec.json.encode(records)).decode() if records else ""


def _records(content: CacheContent, positions: Mapping[str, int]) -> list[_Record]:
    below = {layer.chain_id: layer.parent for layer in content.layers}
    created = {layer.chain_id: format_rfc3339(layer.created_ns) for layer in content.layers}
    made = [key for key, chain in content.keys.items() if chain in positions]
    # A record comes after the record of the layer below it, which is its input.
    made.sort(key=lambda key: (positions[content.keys[key]], key))
    numbers: dict[str, int] = {}
    records: list[_Record] = []
    for key in made:
        chain = content.keys[key]
        parent = numbers.get(below.get(chain, ""))
        records.append(
            _Record(
                layers=[_Result(layer=positions[chain], created_at=created.get(chain, ""))],
                digest=key,
                inputs=[] if parent is None else [[_Input(link=parent)]],
            )
        )
        numbers.setdefault(chain, len(records) - 1)
    return records


def parse_cache_document(data: bytes, descriptors: Mapping[str, Descriptor]) -> CacheContent:
    """Read the document of a cache.

    Args:
        data: The document.
        descriptors: Of the layers, by digest, from the manifest that names them.

    Raises:
        InvalidParameterError: It is none.
    """
    config = _decode(data, _Config)
    layers = _resolved(config.layers, descriptors)
    positions = range(len(config.layers))
    chains = [layers[number].chain_id if number in layers else "" for number in positions]
    return _content(list(layers.values()), config.records, chains)


def parse_inline(text: str, diff_ids: Sequence[str], blobs: Sequence[Descriptor]) -> CacheContent:
    """Read the cache in an image's configuration.

    Args:
        text: What the configuration has.
        diff_ids: The image's layers.
        blobs: The same, as the manifest names them.

    Raises:
        InvalidParameterError: It is none.
    """
    try:
        records = _decode(base64.b64decode(text, validate=True), list[_Record])
    except ValueError as error:
        raise InvalidParameterError(f"invalid inline cache: {error}") from None
    chains = chain_ids(list(diff_ids))
    layers = [
        CachedLayer(diff_id=diff_id, chain_id=chain, parent=parent, blob=blob)
        for diff_id, chain, parent, blob in zip(
            diff_ids, chains, ["", *chains[:-1]], blobs, strict=True
        )
    ]
    return _content(layers, records, chains)


def _resolved(
    raw: Sequence[_Layer], descriptors: Mapping[str, Descriptor]
) -> dict[int, CachedLayer]:
    """Return the layers by position, each after the one below it.

    Other builders sort them by digest, so a layer may stand before the one below. What stands on
    nothing that is known, or on itself, is left out.
    """
    layers: dict[int, CachedLayer] = {}
    above: dict[int, list[int]] = {}
    for number, layer in enumerate(raw):
        above.setdefault(layer.parent, []).append(number)
    waiting = [(number, "") for number in above.get(-1, [])]
    while waiting:
        number, parent = waiting.pop()
        found = _parse_layer(raw[number], parent, descriptors)
        if found is not None and number not in layers:
            layers[number] = found
            waiting += [(child, found.chain_id) for child in above.get(number, [])]
    return layers


def _parse_layer(
    raw: _Layer, parent: str, descriptors: Mapping[str, Descriptor]
) -> CachedLayer | None:
    """Return a layer; None for one whose content nobody can tell."""
    described = descriptors.get(raw.blob)
    noted = raw.annotations
    diff_id = noted.diff_id or (described.annotations.get(UNCOMPRESSED, "") if described else "")
    if not is_digest(diff_id) or not is_digest(raw.blob):
        return None
    blob = described or Descriptor(
        noted.media_type or media_types.OCI_LAYER_GZIP, raw.blob, noted.size
    )
    return CachedLayer(
        diff_id=diff_id,
        chain_id=next_chain(parent, diff_id),
        parent=parent,
        blob=Descriptor(blob.media_type, blob.digest, blob.size),
    )


def next_chain(parent: str, diff_id: str) -> str:
    """Return the chain id of a layer on ``parent``."""
    return sha256_digest(f"{parent} {diff_id}".encode()) if parent else diff_id


def _content(
    layers: Sequence[CachedLayer], records: Sequence[_Record], chains: Sequence[str]
) -> CacheContent:
    keys: dict[str, str] = {}
    created: dict[str, int] = {}
    for record in records:
        for result in record.layers:
            if 0 <= result.layer < len(chains) and chains[result.layer]:
                keys[record.digest] = chains[result.layer]
                created[chains[result.layer]] = parse_created(result.created_at)
    dated = [
        replace(layer, created_ns=created.get(layer.chain_id, layer.created_ns)) for layer in layers
    ]
    return CacheContent(layers=dated, keys=keys)


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidParameterError(f"invalid build cache: {error}") from None
