import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.api.detachkeys import DEFAULT_DETACH_KEYS, DetachScanner, parse_detach_keys
from kedge.errdefs import InvalidParameterError


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", DEFAULT_DETACH_KEYS),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("CTRL-A", b"\x01"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x00\x1b\x1c\x1d\x1e\x1f"),
        ("a,b", b"ab"),
    ],
)
def test_key_names(text: str, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "a,", "é", "shift-a"])
def test_unknown_keys_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="Unknown character"):
        parse_detach_keys(text)


# Few letters, so that sequences overlap with themselves and occur often.
LETTERS = st.binary(max_size=12).map(lambda data: bytes(97 + byte % 2 for byte in data))


@given(LETTERS.filter(bool), st.lists(LETTERS, max_size=6))
def test_the_sequence_is_found_however_the_input_is_split(keys: bytes, pieces: list[bytes]) -> None:
    scanner = DetachScanner(keys)
    whole = b"".join(pieces)
    passed = b""
    detached = False
    for piece in pieces:
        forward, detached = scanner.feed(piece)
        passed += forward
        if detached:
            break
    before, found, _ = whole.partition(keys)
    assert detached == bool(found)
    assert passed + (b"" if detached else scanner.flush()) == before


def test_at_most_a_proper_prefix_is_held_back() -> None:
    scanner = DetachScanner(b"\x10\x11")
    assert scanner.feed(b"ls\n\x10") == (b"ls\n", False)
    assert scanner.feed(b"\x10") == (b"\x10", False)
    assert scanner.feed(b"x") == (b"\x10x", False)
    assert scanner.feed(b"\x10") == (b"", False)
    assert scanner.feed(b"\x11more") == (b"", True)


def test_without_keys_everything_passes() -> None:
    scanner = DetachScanner(b"")
    assert scanner.feed(b"\x10\x11") == (b"\x10\x11", False)
