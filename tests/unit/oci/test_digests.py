import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import InvalidParameterError
from kedge.oci.digests import encoded_part, is_digest, parse_digest
from kedge.oci.hashing import chain_ids, has_digest, new_hash, sha256_digest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid checksum digest format"),
        ("sha256:", "invalid checksum digest format"),
        (":abc", "invalid checksum digest format"),
        ("sha256:abc", "invalid checksum digest length"),
        ("sha256:" + "F" * 64, "invalid checksum digest format"),
        ("sha256:" + "g" * 64, "invalid checksum digest format"),
        ("sha256:" + "٣" * 64, "invalid checksum digest format"),
        ("md5:" + "a" * 32, "unsupported digest algorithm"),
        ("../x:abc", "invalid checksum digest format"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    assert not is_digest(text)
    with pytest.raises(InvalidParameterError) as caught:
        parse_digest(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(("algorithm", "length"), [("sha256", 64), ("sha384", 96), ("sha512", 128)])
def test_registered_algorithms(algorithm: str, length: int) -> None:
    text = f"{algorithm}:{'a' * length}"
    assert parse_digest(text) == text
    assert is_digest(text)
    assert encoded_part(text) == "a" * length


@given(st.binary())
def test_digest_of_bytes(data: bytes) -> None:
    assert sha256_digest(data) == parse_digest("sha256:" + hashlib.sha256(data).hexdigest())
    assert has_digest(data, "sha512:" + hashlib.sha512(data).hexdigest())
    assert not has_digest(data + b"x", sha256_digest(data))
    running = new_hash()
    running.update(data)
    assert f"sha256:{running.hexdigest()}" == sha256_digest(data)


def test_chain_ids() -> None:
    a, b, c = (sha256_digest(letter) for letter in (b"a", b"b", b"c"))
    ab = sha256_digest(f"{a} {b}".encode())
    assert chain_ids([]) == ()
    assert chain_ids([a]) == (a,)
    assert chain_ids([a, b, c]) == (a, ab, sha256_digest(f"{ab} {c}".encode()))
