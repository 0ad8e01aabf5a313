"""References to results, in the shape clients want one: a definition of LLB.

A client takes a result's definition apart and puts it together again when it names the result as
an input of another build. So it has to be a proper one: an operation that is a source of our own
scheme, and the last one, which has the first as its input. No other definition is solved here.
"""

from typing import Final

from kedge.builder.buildkit.messages import OPERATION
from kedge.builder.buildkit.wire import Record, decode, encode, part, text
from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.oci.hashing import sha256_digest

_SCHEME: Final = "kedge-ref://"


def make_definition(identity: str) -> Record:
    """Return the definition that stands for the result ``identity``."""
    source = encode(OPERATION, {"source": {"identifier": f"{_SCHEME}{identity}"}})
    digest = sha256_digest(source)
    last = encode(OPERATION, {"inputs": [{"digest": digest}]})
    return {"def": [source, last], "metadata": {digest: {}, sha256_digest(last): {}}}


def find_reference(definition: Record) -> str:
    """Return the result that a definition stands for; empty for no definition.

    Raises:
        NotSupportedError: It is one that this engine did not make.
    """
    found = definition.get("def")
    pieces = found if isinstance(found, list) else []
    for piece in pieces:
        identity = _identity(piece) if isinstance(piece, bytes) else ""
        if identity:
            return identity
    if not pieces:
        return ""
    raise NotSupportedError(
        "a build that is no Dockerfile's is not supported: kedge solves no other definitions"
    )


def _identity(piece: bytes) -> str:
    try:
        identifier = text(part(decode(OPERATION, piece), "source"), "identifier")
    except InvalidParameterError:
        return ""
    return identifier.removeprefix(_SCHEME) if identifier.startswith(_SCHEME) else ""
