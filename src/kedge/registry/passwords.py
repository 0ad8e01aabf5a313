"""Users from an Apache password file (``htpasswd -B``), read again whenever it changes.

Only bcrypt is taken, as by other registries: the file's other forms are too quick to guess. A
check takes tens of milliseconds on purpose, so one that succeeded is remembered for a while,
as a keyed hash; wrong passwords are checked each time.
"""

import base64
import binascii
import hmac
import os
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.registry.access import ANONYMOUS, Scope, unauthorized

_REMEMBER_S: Final = 300.0
_REMEMBER_MAX: Final = 10_000
_BCRYPT: Final = ("$2a$", "$2b$", "$2y$")


class PasswordAccess:
    """Users of a password file may do everything; others may pull, where that is allowed."""

    def __init__(
        self,
        path: str,
        *,
        realm: str = "kedge registry",
        anonymous_pull: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Read the file at ``path``.

        Raises:
            InvalidParameterError: A line is malformed or not bcrypt.
            SystemFailureError: The file cannot be read, or bcrypt is not installed.
        """
        self._path = path
        self._challenge = f'Basic realm="{realm}"'
        self._anonymous_pull = anonymous_pull
        self._clock = clock
        self._check = _load_bcrypt()
        self._lock = threading.Lock()
        self._key = os.urandom(32)
        self._known: dict[bytes, float] = {}
        self._version: tuple[int, int] = (0, 0)
        self._hashes: dict[str, bytes] = {}
        self._users()

    def authorize(self, header: str, wanted: Sequence[Scope]) -> str:
        """Return the user, after `kedge.registry.access.Access.authorize`."""
        name, password = _credentials(header)
        # Podman's and Skopeo's way of having none is an empty name.
        if not header or (not name and not password):
            only_pull = bool(wanted) and all(scope.action == "pull" for scope in wanted)
            if self._anonymous_pull and only_pull:
                return ANONYMOUS
            raise unauthorized(self._challenge, "authentication required")
        if not self._is_right(name, password):
            raise unauthorized(self._challenge, "unknown user or wrong password")
        return name

    def _is_right(self, name: str, password: bytes) -> bool:
        expected = self._users().get(name)
        if expected is None:
            return False
        token = hmac.digest(self._key, b"\0".join((name.encode(), expected, password)), "sha256")
        now = self._clock.monotonic()
        if self._known.get(token, 0.0) > now:
            return True
        # bcrypt looks at 72 bytes and no further.
        if not self._check(password[:72], expected):
            return False
        with self._lock:
            if len(self._known) >= _REMEMBER_MAX:
                self._known.clear()
            self._known[token] = now + _REMEMBER_S
        return True

    def _users(self) -> dict[str, bytes]:
        try:
            status = os.stat(self._path)
            version = (status.st_mtime_ns, status.st_ino)
            with self._lock:
                if version != self._version:
                    with open(self._path, encoding="utf-8") as stream:
                        self._hashes = parse_password_file(stream.read(), self._path)
                    self._version = version
                return self._hashes
        except OSError as error:
            raise SystemFailureError(f"cannot read {self._path}: {error.strerror}") from error


def parse_password_file(text: str, path: str) -> dict[str, bytes]:
    """Return the bcrypt hash of each user.

    Raises:
        InvalidParameterError: A line is malformed or not bcrypt.
    """
    found: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, hashed = line.strip().partition(":")
        if not name or name.startswith("#"):
            continue
        if not colon or not hashed.startswith(_BCRYPT):
            raise InvalidParameterError(
                f"{path}, line {number}: not a bcrypt password: make it with htpasswd -B"
            )
        found[name] = hashed.encode()
    return found


def _credentials(header: str) -> tuple[str, bytes]:
    """Return name and password; what cannot be read is nobody's."""
    scheme, _, rest = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            return "", b"?"
        decoded = base64.b64decode(rest.strip(), validate=True)
    except (binascii.Error, ValueError):
        return "", b"?"
    name, _, password = decoded.partition(b":")
    return name.decode("utf-8", "replace"), password


def _load_bcrypt() -> Callable[[bytes, bytes], bool]:
    try:
        check: Callable[[bytes, bytes], bool] = import_module("bcrypt").checkpw
    except ImportError:
        raise SystemFailureError(
            "password files need bcrypt: pip install 'kedge[registry]'"
        ) from None
    return check
