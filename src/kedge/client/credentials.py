"""Who the user is at each registry: Docker's ``config.json`` and its credential helpers.

The file is shared with Docker, so everything in it that is not understood is kept. A helper is a
program ``docker-credential-NAME`` that speaks JSON on its standard streams (docker-credential-
helpers, "Credential program protocol"); ``credHelpers`` names one for a host, ``credsStore`` one
for all others. Without a helper, secrets are kept in the file, which only its owner can read.
"""

import base64
import json
import os
from collections.abc import Mapping
from typing import Final, NamedTuple, cast

from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.lib.atomicfile import write_atomic
from kedge.lib.jsontypes import Json, JsonObject

HUB_KEY: Final = "https://index.docker.io/v1/"
"""What Docker calls Docker Hub in this file."""
_HUB_DOMAIN: Final = "docker.io"
_TOKEN_USER: Final = "<token>"  # noqa: S105 - a marker, no secret
_NOT_FOUND: Final = "credentials not found in native keychain"
_HELPER_TIMEOUT_S: Final = 60


class Login(NamedTuple):
    """What somebody logs in to a registry with."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    """Kept instead of the password where the registry gave one."""
    registry_token: str = ""

    def __repr__(self) -> str:
        """Show nobody's secrets."""
        return f"Login(username={self.username!r})"

    def auth_config(self, server: str) -> JsonObject:
        """Return Docker's AuthConfig for requests to the engine."""
        fields = {
            "username": self.username,
            "password": self.password,
            "identitytoken": self.identity_token,
            "registrytoken": self.registry_token,
            "serveraddress": server,
        }
        return {key: text for key, text in fields.items() if text}


class CredentialStore:
    """The credentials of one user."""

    def __init__(self, directory: str) -> None:
        """Use ``config.json`` in ``directory``; it may not exist yet."""
        self.path = os.path.join(directory, "config.json")

    def find(self, domain: str) -> Login | None:
        """Return how to log in to the registry of a reference's domain; None for nobody.

        Raises:
            SystemFailureError: The file or the helper fails.
        """
        config, key = self._load(), registry_key(domain)
        helper = _helper_for(config, key)
        if helper:
            return _ask_helper(helper, key)
        auths = _object(config, "auths")
        for name, entry in sorted(auths.items(), key=lambda item: item[0] != key):
            if name == key or _host_of(name) == _host_of(key):
                return _parse_entry(entry)
        return None

    def keep(self, key: str, login: Login) -> str:
        """Keep a login; return the path of the file where its secret is readable, if one is.

        Raises:
            SystemFailureError: The file or the helper fails.
        """
        config = self._load()
        helper = _helper_for(config, key)
        entry: JsonObject = {}
        if helper:
            secret = login.identity_token or login.password
            user = _TOKEN_USER if login.identity_token else login.username
            _run_helper(helper, "store", {"ServerURL": key, "Username": user, "Secret": secret})
        else:
            pair = f"{login.username}:{login.password}".encode()
            entry = {"auth": base64.b64encode(pair).decode()}
            if login.identity_token:
                entry["identitytoken"] = login.identity_token
        config["auths"] = {**_object(config, "auths"), key: entry}
        self._save(config)
        return "" if helper else self.path

    def forget(self, key: str) -> bool:
        """Forget a login; tell whether there was one."""
        config = self._load()
        auths = _object(config, "auths")
        names = [name for name in auths if name == key or _host_of(name) == _host_of(key)]
        helper = _helper_for(config, key)
        known = bool(names)
        if helper and _ask_helper(helper, key) is not None:
            known = True
            _run_helper(helper, "erase", key)
        if names:
            config["auths"] = {name: auths[name] for name in auths if name not in names}
            self._save(config)
        return known

    def all(self) -> dict[str, Login]:
        """Return every login by registry, for a build that may pull from any of them."""
        config = self._load()
        names = {*_object(config, "auths"), *_object(config, "credHelpers")}
        found: dict[str, Login] = {}
        for key in sorted(names):
            helper = _helper_for(config, key)
            login = (
                _ask_helper(helper, key)
                if helper
                else _parse_entry(_object(config, "auths").get(key))
            )
            if login is not None:
                found[key] = login
        return found

    def _load(self) -> JsonObject:
        try:
            with open(self.path, encoding="utf-8") as stream:
                document = cast("Json", json.load(stream))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise SystemFailureError(f"cannot read {self.path}: {reason}") from None
        except ValueError as error:
            raise SystemFailureError(f"{self.path} is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise SystemFailureError(f"{self.path} is not a JSON object")
        return document

    def _save(self, config: JsonObject) -> None:
        # Through a link, as people keep this file with their other settings.
        path = os.path.realpath(self.path)
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            write_atomic(path, json.dumps(config, indent="\t").encode(), mode=0o600)
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise SystemFailureError(f"cannot write {self.path}: {reason}") from None


def config_directory(environ: Mapping[str, str]) -> str:
    """Return where Docker's client keeps its settings."""
    return environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")


def registry_key(domain: str) -> str:
    """Return the name under which a registry's login is kept."""
    return HUB_KEY if domain == _HUB_DOMAIN else domain


def registry_auth_headers(store: CredentialStore, domain: str) -> dict[str, str]:
    """Return the header that lets the engine ask a registry as this user."""
    login = store.find(domain)
    if login is None:
        return {}
    return {"X-Registry-Auth": _encode(login.auth_config(registry_key(domain)))}


def registry_config_headers(store: CredentialStore) -> dict[str, str]:
    """Return the header that lets a build ask every registry as this user."""
    logins: JsonObject = {key: login.auth_config(key) for key, login in store.all().items()}
    return {"X-Registry-Config": _encode(logins)} if logins else {}


def _encode(document: JsonObject) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


def _host_of(key: str) -> str:
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return _HUB_DOMAIN if host in {"index.docker.io", "registry-1.docker.io"} else host


def _helper_for(config: JsonObject, key: str) -> str:
    helpers = _object(config, "credHelpers")
    name = next((helpers[n] for n in helpers if n == key or _host_of(n) == _host_of(key)), None)
    name = name or config.get("credsStore")
    if not isinstance(name, str) or not name:
        return ""
    if "/" in name:
        raise InvalidParameterError(f'credential helper "{name}": want a name without a slash')
    return name


def _ask_helper(helper: str, key: str) -> Login | None:
    output = _run_helper(helper, "get", key)
    if output is None:
        return None
    try:
        document = cast("Json", json.loads(output))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise SystemFailureError(f"credential helper docker-credential-{helper} does not answer")
    user, secret = str(document.get("Username", "")), str(document.get("Secret", ""))
    return Login(identity_token=secret) if user == _TOKEN_USER else Login(user, secret)


def _run_helper(helper: str, verb: str, message: Json) -> str | None:
    """Return what a helper prints, or None where it has nothing.

    What it prints is never part of a message: it may be the secret.
    """
    import subprocess  # noqa: PLC0415 - only with a helper

    program = f"docker-credential-{helper}"
    import shutil  # noqa: PLC0415 - helpers are rare

    if shutil.which(program) is None:
        raise SystemFailureError(
            f"credential helper {program} is not installed: install it, or take it out of"
            " credsStore and credHelpers in config.json"
        )
    text = message if isinstance(message, str) else json.dumps(message)
    try:
        done = subprocess.run(
            [program, verb],
            input=text,
            capture_output=True,
            text=True,
            timeout=_HELPER_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SystemFailureError(
            f"credential helper {program} does not answer within {_HELPER_TIMEOUT_S} s"
        ) from None
    if done.returncode == 0:
        return done.stdout
    said = f"{done.stdout} {done.stderr}"
    if verb != "store" and _NOT_FOUND in said:
        return None
    reason = " ".join((done.stderr if verb == "get" else said).split())[:200]
    raise SystemFailureError(
        f"credential helper {program} fails to {verb}: {reason or done.returncode}"
    )


def _parse_entry(entry: Json) -> Login | None:
    if not isinstance(entry, dict):
        return None

    def text(key: str) -> str:
        value = entry.get(key)
        return value if isinstance(value, str) else ""

    user, password = text("username"), text("password")
    if text("auth"):
        try:
            pair = base64.b64decode(text("auth"), validate=True).decode()
        except ValueError:
            pair = ""
        user, _, password = pair.partition(":")
        password = password.rstrip("\0")
    login = Login(user, password, text("identitytoken"), text("registrytoken"))
    return login if any(login) else None


def _object(document: JsonObject, key: str) -> JsonObject:
    value = document.get(key)
    return value if isinstance(value, dict) else {}
