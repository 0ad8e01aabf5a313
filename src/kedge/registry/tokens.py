"""Bearer tokens of somebody else's authority, as Docker's token specification has them.

The authority's public keys come from a file: PEM certificates, PEM public keys, or a JSON Web
Key Set. It is read again when it changes. Only asymmetric algorithms are taken, so that a public
key can never serve as a shared secret.
"""

import json
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.registry.access import Scope, join_scopes, unauthorized

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY_S: Final = 60
_PEM_END: Final = "-----END "


class TokenSettings(NamedTuple):
    """Whose tokens are taken.

    Attributes:
        realm: The address clients get a token from.
        service: This registry's name there; a token's audience.
        issuer: Who must have made the token.
        keys_path: The file with the issuer's public keys.
    """

    realm: str
    service: str
    issuer: str
    keys_path: str


class TokenAccess:
    """Whoever holds a token may do what the token says."""

    def __init__(self, settings: TokenSettings) -> None:
        """Read the keys.

        Raises:
            InvalidParameterError: The file holds no key.
            SystemFailureError: It cannot be read, or PyJWT and cryptography are not installed.
        """
        self._settings = settings
        self._lock = threading.Lock()
        self._version: tuple[int, int] = (0, 0)
        self._keys: tuple[PublicKeyTypes, ...] = ()
        self._current_keys()

    def authorize(self, header: str, wanted: Sequence[Scope]) -> str:
        """Return the token's subject, after `kedge.registry.access.Access.authorize`."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise unauthorized(self._challenge(wanted, ""), "authentication required")
        claims = self._verify(token.strip())
        if claims is None:
            raise unauthorized(
                self._challenge(wanted, "invalid_token"), "the token is not valid here, or expired"
            )
        granted = granted_scopes(claims)
        lacking = [s for s in wanted if not _is_granted(s, granted)]
        if lacking:
            raise unauthorized(
                self._challenge(wanted, "insufficient_scope"),
                f"the token does not grant {join_scopes(lacking)}",
            )
        return str(claims.get("sub", ""))

    def _challenge(self, wanted: Sequence[Scope], error: str) -> str:
        settings = self._settings
        parts = [f'realm="{settings.realm}"', f'service="{settings.service}"']
        if wanted:
            parts.append(f'scope="{join_scopes(wanted)}"')
        if error:
            parts.append(f'error="{error}"')
        return f"Bearer {','.join(parts)}"

    def _verify(self, token: str) -> JsonObject | None:
        import jwt  # noqa: PLC0415 - 90 ms that only registries with tokens pay

        for key in self._current_keys():
            try:
                claims: JsonObject = jwt.decode(
                    token,
                    key,  # type: ignore[arg-type]
                    algorithms=list(_ALGORITHMS),
                    audience=self._settings.service,
                    issuer=self._settings.issuer,
                    leeway=_LEEWAY_S,
                    options={"require": ["exp", "iss", "aud"]},
                )
            except (jwt.InvalidTokenError, TypeError, ValueError):
                # Another key may fit; one of another kind cannot even be tried.
                continue
            return claims
        return None

    def _current_keys(self) -> "tuple[PublicKeyTypes, ...]":
        path = self._settings.keys_path
        try:
            status = os.stat(path)
            version = (status.st_mtime_ns, status.st_ino)
            with self._lock:
                if version != self._version:
                    with open(path, encoding="utf-8") as stream:
                        self._keys = parse_keys(stream.read(), path)
                    self._version = version
                return self._keys
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SystemFailureError(f"cannot read {path}: {reason}") from error


def parse_keys(text: str, path: str) -> "tuple[PublicKeyTypes, ...]":
    """Return the public keys of a PEM file or a JSON Web Key Set.

    Raises:
        InvalidParameterError: It holds none, or a broken one.
        SystemFailureError: PyJWT and cryptography are not installed.
    """
    try:
        import jwt  # noqa: PLC0415
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            load_pem_public_key,
        )
    except ImportError:
        raise SystemFailureError(
            "tokens need PyJWT and cryptography: pip install 'kedge[registry]'"
        ) from None
    found: list[PublicKeyTypes] = []
    try:
        if text.lstrip().startswith("{"):
            found = [key.key for key in jwt.PyJWKSet.from_dict(json.loads(text)).keys]
        for block in _pem_blocks(text):
            if "CERTIFICATE" in block.partition("\n")[0]:
                found.append(x509.load_pem_x509_certificate(block.encode()).public_key())
            else:
                found.append(load_pem_public_key(block.encode()))
    except (ValueError, jwt.PyJWTError) as error:
        raise InvalidParameterError(f"{path}: a key cannot be read: {error}") from error
    if not found:
        raise InvalidParameterError(f"{path}: no public key in it: want PEM or a JSON Web Key Set")
    return tuple(found)


def granted_scopes(claims: JsonObject) -> frozenset[Scope]:
    """Return what the ``access`` claim of a token grants; malformed entries grant nothing."""
    entries = claims.get("access")
    found: set[Scope] = set()
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            kind, name, actions = entry.get("type"), entry.get("name"), entry.get("actions")
            if isinstance(kind, str) and isinstance(name, str):
                found.update(Scope(kind, name, action) for action in _texts(actions))
    return frozenset(found)


def _texts(value: Json) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _is_granted(scope: Scope, granted: frozenset[Scope]) -> bool:
    return scope in granted or scope._replace(action="*") in granted


def _pem_blocks(text: str) -> list[str]:
    blocks: list[str] = []
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("-----BEGIN "):
            lines = []
        lines.append(line)
        if line.startswith(_PEM_END):
            blocks.append("\n".join(lines) + "\n")
    return blocks
