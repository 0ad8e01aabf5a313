"""Cache documents: written and read again, and those of other builders."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.api.buildcaches import CacheKind, parse_cache
from kedge.builder.remotecache.document import (
    CacheContent,
    CachedLayer,
    encode_cache,
    encode_inline,
    parse_cache_document,
    parse_inline,
)
from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.oci import media_types
from kedge.oci.hashing import chain_ids, sha256_digest
from kedge.oci.image_spec import Descriptor


def stack(*names: str, created_ns: int = 5) -> list[CachedLayer]:
    """Return layers on one another."""
    diff_ids = [sha256_digest(name.encode()) for name in names]
    chains = chain_ids(diff_ids)
    return [
        CachedLayer(
            diff_id=diff_id,
            chain_id=chain,
            parent=parent,
            blob=Descriptor(media_types.OCI_LAYER_GZIP, sha256_digest(diff_id.encode()), 7),
            created_ns=created_ns,
        )
        for diff_id, chain, parent in zip(diff_ids, chains, ["", *chains[:-1]], strict=True)
    ]


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=5, unique=True), st.data())
def test_what_is_written_is_read_again(names: list[str], data: st.DataObject) -> None:
    layers = stack(*names)
    numbers = data.draw(st.sets(st.sampled_from(range(len(layers)))))
    chosen = [layers[number] for number in numbers]
    keys = {sha256_digest(layer.chain_id.encode()): layer.chain_id for layer in chosen}
    content = CacheContent(layers=layers, keys=keys)
    found = parse_cache_document(encode_cache(content), {})
    assert found.keys == keys
    assert {layer.chain_id for layer in found.layers} == {layer.chain_id for layer in layers}
    for key, chain in keys.items():
        layer = found.find(key)
        assert layer is not None
        assert layer == next(each for each in layers if each.chain_id == chain)
    inside = encode_inline(content, [layer.diff_id for layer in layers])
    assert bool(inside) == bool(keys)
    if inside:
        again = parse_inline(
            inside, [each.diff_id for each in layers], [each.blob for each in layers]
        )
        assert again.keys == keys
        assert all(again.find(key) is not None for key in keys)


def test_a_document_of_buildkit() -> None:
    base, top = stack("base", "top")
    document = {
        "layers": [
            {"blob": top.blob.digest, "parent": 1},
            {"blob": base.blob.digest, "parent": -1},
        ],
        "records": [
            {"digest": "sha256:" + "1" * 64, "layers": [{"layer": 1, "createdAt": "2024"}]},
            {"digest": "sha256:" + "2" * 64, "inputs": [[{"selector": "sha256:a", "link": 0}]]},
            {"digest": "sha256:" + "3" * 64, "chains": [{"layers": [0]}]},
        ],
    }  # fmt: skip
    described = {
        layer.blob.digest: Descriptor(
            layer.blob.media_type, layer.blob.digest, 7,
            annotations={"containerd.io/uncompressed": layer.diff_id},
        )
        for layer in (base, top)
    }  # fmt: skip
    found = parse_cache_document(json.dumps(document).encode(), described)
    assert found.keys == {"sha256:" + "1" * 64: base.chain_id}
    assert [layer.chain_id for layer in found.layers] == [base.chain_id, top.chain_id]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"layers": 3}', b'{"records": [{"layers": [{"layer": "x"}]}]}', b"\xff"]
)
def test_what_is_no_document(data: bytes) -> None:
    with pytest.raises(InvalidParameterError, match="invalid build cache"):
        parse_cache_document(data, {})
    with pytest.raises(InvalidParameterError, match="invalid"):
        parse_inline(base64.b64encode(data).decode() + "é", [], [])


def test_positions_outside_the_document_lead_nowhere() -> None:
    layer = {"blob": "sha256:" + "0" * 64, "parent": 9, "annotations": {"diffID": "sha256:x"}}
    document = {
        "layers": [layer, {**layer, "parent": 0}],
        "records": [{"digest": "k", "layers": [{"layer": 0}, {"layer": 44}]}],
    }
    found = parse_cache_document(json.dumps(document).encode(), {})
    assert (list(found.layers), found.keys) == ([], {})


def test_values_of_the_flags() -> None:
    assert parse_cache("app:1", target=False).kind is CacheKind.REGISTRY
    spec = parse_cache("type=local,dest=d,mode=max,tag=t,image-manifest=false", target=True)
    assert (spec.place, spec.is_whole, spec.tag, spec.as_image) == ("d", True, "t", False)
    for text, error, message in (
        ("type=gha", NotSupportedError, "cache type gha is not supported"),
        ("type=nfs", InvalidParameterError, "cache type nfs does not exist"),
        ("type=registry,rev=x", InvalidParameterError, "has no option rev"),
        ("ref=x", InvalidParameterError, "type is required"),
        ("type=local,src=x", InvalidParameterError, "dest is required"),
        ("type=inline,x", InvalidParameterError, "x is no KEY=VALUE"),
    ):
        with pytest.raises(error, match=message):
            parse_cache(text, target=True)
