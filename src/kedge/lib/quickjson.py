"""JSON by the standard library's own C code, without what importing `json` around it costs.

`json` compiles regular expressions for a second implementation, in Python, that hardly anybody
uses. Whatever the C code does not take is given to `json` after all, so that failures are the
usual ones.
"""

from __future__ import annotations

import _json

from kedge.lib.hints import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import Json

_BLANKS: Final = " \t\n\r"


class _Grammar:
    """What the C code asks the decoder it thinks it belongs to."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def decode(data: bytes) -> Json:
    """Return the document in ``data``.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        text = data.decode()
        scan = _json.make_scanner(cast("_json.make_scanner", _Grammar))
        document, end = scan(text, len(text) - len(text.lstrip(_BLANKS)))
        if not text[end:].strip(_BLANKS):
            return cast("Json", document)
    except (StopIteration, SystemError, ValueError):
        # Without `json` to make its exception, the C code has none to raise.
        pass
    import json  # noqa: PLC0415 - says what is wrong

    return cast("Json", json.loads(data))


def encode(document: Json) -> bytes:
    """Return ``document`` in ASCII, as `json.dumps` writes it."""
    encoder = _json.make_encoder(
        None,
        _refuse,
        _json.encode_basestring_ascii,
        None,
        ": ",
        ", ",
        False,  # noqa: FBT003 - keys in their order
        False,  # noqa: FBT003 - no key is left out
        True,  # noqa: FBT003 - numbers as they are
    )
    return "".join(encoder(document, 0)).encode()


def quote(text: str) -> str:
    """Return ``text`` as a JSON string, with everything but control characters as it is."""
    return _json.encode_basestring(text)


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is no JSON")
