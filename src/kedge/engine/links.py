"""``--link`` in Docker's spelling. Pure."""

from kedge.errdefs import InvalidParameterError


def parse_link(text: str) -> tuple[str, str]:
    """Return the container and the alias in ``db:store``; the alias may be missing.

    Raises:
        InvalidParameterError: Not of this form, with Docker's text.
    """
    target, separator, alias = text.partition(":")
    target, alias = target.removeprefix("/"), alias.rpartition("/")[2]
    if not target or (separator and not alias) or ":" in alias:
        raise InvalidParameterError(f"bad format for links: {text}")
    return target, alias or target
