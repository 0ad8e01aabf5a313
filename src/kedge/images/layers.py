"""How a layer blob becomes files: the archive's tools joined in the one way images need."""

from collections.abc import Sequence
from typing import BinaryIO

from kedge.archive.apply import Applied, apply_layer
from kedge.archive.compression import decompress


def apply_blob(stream: BinaryIO, target: str, lower: Sequence[str], name: str) -> Applied:
    """Extract a layer as registries have it, compressed or not, into an overlay layer directory.

    Args:
        stream: The blob; read to its end.
        target: The layer's own directory.
        lower: The directories below it, top first.
        name: What messages call the layer; they begin with it.

    Raises:
        DataLossError: It is truncated or damaged.
        InvalidParameterError: It is no layer.
        SystemFailureError: The host cannot take it.
    """
    with decompress(stream, name=name) as tar:
        return apply_layer(tar, target, whiteouts="overlay", lower=lower, name=name)
