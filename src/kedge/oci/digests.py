"""Digests: the names of content, ``algorithm:hex``.

Vocabulary and messages follow opencontainers/go-digest. Parsing only, so that short-lived
processes may import this; hashing is in `kedge.oci.hashing`.
"""

import re
from typing import Final

from kedge.errdefs import InvalidParameterError

HEX_LENGTHS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}
"""The registered algorithms and the number of hexadecimal digits each one has."""

_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_HEX = re.compile(r"[a-f0-9]+")


def parse_digest(text: str) -> str:
    """Return ``text`` if it is a digest of a known algorithm and of its exact length.

    Raises:
        InvalidParameterError: With go-digest's text for the reason.
    """
    algorithm, separator, encoded = text.partition(":")
    if not (algorithm and separator and encoded):
        raise InvalidParameterError("invalid checksum digest format")
    length = HEX_LENGTHS.get(algorithm)
    if length is None:
        if _DIGEST.fullmatch(text) is None:
            raise InvalidParameterError("invalid checksum digest format")
        raise InvalidParameterError("unsupported digest algorithm")
    if len(encoded) != length:
        raise InvalidParameterError("invalid checksum digest length")
    if _HEX.fullmatch(encoded) is None:
        raise InvalidParameterError("invalid checksum digest format")
    return text


def is_digest(text: str) -> bool:
    """Tell whether `parse_digest` accepts ``text``."""
    algorithm, _, encoded = text.partition(":")
    return len(encoded) == HEX_LENGTHS.get(algorithm) and _HEX.fullmatch(encoded) is not None


def encoded_part(digest: str) -> str:
    """Return the hexadecimal digits of a valid digest."""
    return digest.partition(":")[2]
