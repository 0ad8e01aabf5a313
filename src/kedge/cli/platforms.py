"""``--platform``: ``os[/arch[/variant]]``, as a word and as the API's JSON. Pure."""

from kedge.errdefs import InvalidParameterError


def check_platform(text: str) -> None:
    """Refuse what is no platform.

    Raises:
        InvalidParameterError: It is none.
    """
    platform_parameter(text)


def platform_parameter(text: str) -> str:
    """Return the JSON object of a platform; nothing for nothing.

    Raises:
        InvalidParameterError: It is no ``os[/arch[/variant]]``.
    """
    if not text:
        return ""
    parts = text.split("/")
    if len(parts) > 3 or not all(parts):
        raise InvalidParameterError(f'invalid platform "{text}": want os[/arch[/variant]]')
    import json  # noqa: PLC0415 - rarely needed

    names = ("os", "architecture", "variant")
    return json.dumps(dict(zip(names, parts, strict=False)), separators=(",", ":"))
