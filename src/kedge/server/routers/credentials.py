"""Registry credentials in request headers."""

import base64
import binascii

from kedge.api import codec
from kedge.api.types.system import AuthConfig
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json


def parse_registry_auth(header: str) -> AuthConfig | None:
    """Return the credentials of ``X-Registry-Auth``; None without any.

    compat: as in Docker, a value nobody can read counts as none: a pull needs no login.
    """
    try:
        auth = codec.convert(_decode(header), AuthConfig)
    except InvalidParameterError:
        return None
    return None if auth == AuthConfig() else auth


def parse_registry_config(header: str) -> dict[str, AuthConfig]:
    """Return the credentials of ``X-Registry-Config`` by registry; unreadable ones as none."""
    try:
        document = _decode(header)
        if not isinstance(document, dict):
            return {}
        return {host: codec.convert(entry, AuthConfig) for host, entry in document.items()}
    except InvalidParameterError:
        return {}


def _decode(header: str) -> Json:
    # Go sends the URL alphabet with padding; some clients the standard one, or no padding.
    text = header.strip().replace("+", "-").replace("/", "_").rstrip("=")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise InvalidParameterError("credentials are not base64") from None
    return codec.parse_json(raw)
