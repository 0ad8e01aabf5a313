"""One request as a handler sees it: names, parameters, body; with Docker's parsing rules."""

import asyncio
from typing import Final, TypeVar

from kedge.api import codec
from kedge.api.versions import MAX_VERSION, ApiVersion
from kedge.errdefs import InvalidParameterError
from kedge.lib.filters import Filters, parse_filters
from kedge.server.body import BodyReader
from kedge.server.head import Head, parse_query
from kedge.server.limits import Limits
from kedge.server.response import JSON

T = TypeVar("T")

_FALSE: Final = frozenset({"", "0", "no", "false", "none"})


class Request:
    """A request on its way to a handler.

    Attributes:
        name: What the route's ``{name}`` matched.
        cancellable: The handler is cancelled when the client goes; set by the route.
    """

    __slots__ = ("_limits", "_query", "body", "cancellable", "head", "name", "version")

    def __init__(self, head: Head, body: BodyReader, limits: Limits) -> None:
        """Join a head and its body."""
        self.head = head
        self.body = body
        self.name = ""
        self.version: ApiVersion = MAX_VERSION
        self.cancellable = False
        self._limits = limits
        self._query: dict[str, list[str]] | None = None

    @property
    def upgraded(self) -> bool:
        """Whether the client asks for another protocol on this connection."""
        return "upgrade" in self.head.headers

    def texts(self, key: str) -> list[str]:
        """Return every value of a query parameter."""
        if self._query is None:
            try:
                self._query = parse_query(self.head.query) if self.head.query else {}
            except ValueError as error:
                raise InvalidParameterError(f"invalid query: {error}") from None
        return self._query.get(key, [])

    def text(self, key: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        values = self.texts(key)
        return values[0] if values else default

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean parameter; all but ``"" 0 no false none`` is true."""
        values = self.texts(key)
        return values[0].strip().lower() not in _FALSE if values else default

    def optional_flag(self, key: str) -> bool | None:
        """Return a boolean parameter, or None when it is absent."""
        return self.flag(key) if self.texts(key) else None

    def integer(self, key: str, default: int = 0) -> int:
        """Return a decimal parameter; absent or empty means ``default``.

        Raises:
            InvalidParameterError: It is no number; Go's text.
        """
        text = self.text(key)
        if not text:
            return default
        digits = text[1:] if text[0] in "+-" else text
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
            raise InvalidParameterError(f'strconv.ParseInt: parsing "{text[:40]}": invalid syntax')
        return int(text)

    def filters(self) -> Filters:
        """Return the ``filters`` parameter."""
        return parse_filters(self.text("filters"))

    async def json(self, wire_type: type[T], *, required: bool = False) -> T:
        """Return the body as ``wire_type``; an absent one as its zero value unless ``required``.

        Raises:
            InvalidParameterError: Not JSON by its header or its content, too long or too slow.
        """
        content_type = self.head.headers.get("content-type", "")
        if content_type or not self.body.is_empty:
            _check_json_type(content_type)
        try:
            async with asyncio.timeout(self._limits.json_timeout_s):
                text = await self.body.read(self._limits.json_bytes)
        except TimeoutError:
            raise InvalidParameterError("the request body did not arrive in time") from None
        if not text and self.body.is_empty and not required:
            text = b"{}"
        return codec.decode(text, wire_type)


def _check_json_type(content_type: str) -> None:
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip().lower()
    if not media_type:
        raise InvalidParameterError(
            f"malformed Content-Type header ({content_type}): mime: no media type"
        )
    if any("=" not in part for part in parameters.split(";") if part.strip()):
        raise InvalidParameterError(
            f"malformed Content-Type header ({content_type}): mime: invalid media parameter"
        )
    if media_type != JSON:
        raise InvalidParameterError(
            f"unsupported Content-Type header ({content_type}): must be '{JSON}'"
        )
