"""``--platform``: ``os[/arch[/variant]]``, as a word and as the API's JSON. Pure."""

from kedge.oci.platforms import parse_platform


def check_platform(text: str) -> None:
    """Refuse what is no platform.

    Raises:
        InvalidParameterError: It is none.
    """
    platform_parameter(text)


def platform_parameter(text: str) -> str:
    """Return the JSON object of a platform; nothing for nothing.

    A part that is not said is this machine's, as in Docker's client.

    Raises:
        InvalidParameterError: It is no ``os[/arch[/variant]]``.
    """
    if not text:
        return ""
    import json  # noqa: PLC0415 - rarely needed

    platform = parse_platform(text)
    fields = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
    present = {name: word for name, word in fields.items() if word}
    return json.dumps(present, separators=(",", ":"))
