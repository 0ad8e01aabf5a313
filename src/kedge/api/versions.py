"""API versions: which ones this engine speaks, and comparing them."""

from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError


class ApiVersion(NamedTuple):
    """A version such as 1.51; compares by number, not by text."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


# compat: Docker raised its minimum to 1.40; old clients cost us nothing.
MIN_VERSION: Final = ApiVersion(1, 24)
# From 1.52 on the legacy fields that docker-py and older CLIs read disappear.
MAX_VERSION: Final = ApiVersion(1, 51)


def parse_version(text: str) -> ApiVersion:
    """Return the version ``text`` names; numbers after the second are ignored.

    Raises:
        InvalidParameterError: It is not of the form ``1.51``.
    """
    parts = text.split(".")
    # Longer numbers than any version has would cost time to convert.
    if not 2 <= len(parts) <= 4 or not all(
        part.isascii() and part.isdigit() and len(part) <= 9 for part in parts
    ):
        raise InvalidParameterError(f"invalid API version {text[:40]!r}: use a form such as 1.51")
    return ApiVersion(int(parts[0]), int(parts[1]))


def negotiate(text: str) -> ApiVersion:
    """Return the version a client asks for in the path, when this engine speaks it.

    Raises:
        InvalidParameterError: It is too old, too new or malformed; Docker's texts.
    """
    version = parse_version(text)
    if version < MIN_VERSION:
        raise InvalidParameterError(
            f"client version {version} is too old. Minimum supported API version is "
            f"{MIN_VERSION}, please upgrade your client to a newer version"
        )
    if version > MAX_VERSION:
        raise InvalidParameterError(
            f"client version {version} is too new. Maximum supported API version is {MAX_VERSION}"
        )
    return version
