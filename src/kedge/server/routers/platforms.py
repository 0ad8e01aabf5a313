"""The ``platform`` of a request: ``os/arch[/variant]``, or from API 1.46 on a JSON object."""

from typing import Final

from kedge.api import codec
from kedge.api.types.distribution import OciPlatform
from kedge.api.versions import ApiVersion
from kedge.errdefs import InvalidParameterError
from kedge.server.request import Request

_BOTH: Final = "invalid platform: both OS and Architecture must be provided"


def platform_of(request: Request, *, since: ApiVersion) -> str:
    """Return the platform of a request as ``os/arch[/variant]``; nothing for none.

    A client from before ``since`` had no such parameter.

    Raises:
        InvalidParameterError: A JSON object that is no platform, or more than one platform.
    """
    if request.version < since:
        return ""
    texts = [text for text in request.texts("platform") if text]
    if len(texts) > 1:
        raise InvalidParameterError("only one platform can be asked for at a time")
    return _word_of(texts[0]) if texts else ""


def platforms_of(request: Request, *, since: ApiVersion) -> list[str]:
    """Return each of the ``platforms`` of a request as ``os/arch[/variant]``, as `platform_of`."""
    if request.version < since:
        return []
    return [_word_of(text) for text in request.texts("platforms") if text]


def _word_of(text: str) -> str:
    if not text.startswith("{"):
        return text
    platform = codec.decode(text.encode(), OciPlatform)
    if not platform.os or not platform.architecture:
        raise InvalidParameterError(_BOTH)
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))
