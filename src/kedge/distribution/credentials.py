"""Who asks a registry: a user with a password or an identity token, or a ready bearer token.

The shape is Docker's AuthConfig. Secrets never appear in a repr, so not in a log or a traceback.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field

from kedge.lib.jsontypes import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a client gave to authenticate with; empty parts are absent."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """A refresh token, for registries whose token service speaks OAuth 2."""
    registry_token: str = field(default="", repr=False)
    """A bearer token to be sent as it is."""

    @property
    def is_anonymous(self) -> bool:
        """Whether there is nothing to authenticate with."""
        return not (self.password or self.identity_token or self.registry_token)

    def basic(self) -> str:
        """Return the ``Authorization`` header of HTTP basic authentication."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


ANONYMOUS = Credentials()


def parse_auth_config(document: Json) -> Credentials:
    """Read Docker's AuthConfig; what is missing or strange counts as absent."""
    if not isinstance(document, dict):
        return ANONYMOUS

    def text(key: str) -> str:
        value = document.get(key)
        return value if isinstance(value, str) else ""

    username, password = text("username"), text("password")
    if not username and text("auth"):
        username, password = decode_pair(text("auth"))
    return Credentials(
        username=username,
        password=password,
        identity_token=text("identitytoken"),
        registry_token=text("registrytoken"),
    )


def parse_registry_auth(header: str) -> Credentials:
    """Read an ``X-Registry-Auth`` header.

    A header that makes no sense counts as none, because dockerd pulls anonymously then.
    """
    try:
        document: Json = json.loads(_decode(header)) if header else None
    except (ValueError, RecursionError):
        return ANONYMOUS
    return parse_auth_config(document)


def decode_pair(text: str) -> tuple[str, str]:
    """Return user and password of the base64 that Docker keeps them in; nonsense is empty."""
    username, _, password = _decode(text).partition(":")
    return username, password.rstrip("\0")


def _decode(text: str) -> str:
    """Decode base64 in either alphabet, padded or not; nonsense is empty."""
    padded = text.replace("-", "+").replace("_", "/").rstrip("=")
    padded += "=" * (-len(padded) % 4)
    try:
        return base64.b64decode(padded).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
