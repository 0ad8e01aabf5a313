"""Contexts: named engines, in Docker's own store, so that both clients see the same ones.

``contexts/meta/<sha256 of the name>/meta.json`` has the address, ``contexts/tls/<…>/docker/`` the
key material. The context ``default`` is not in the store: it is what the environment says.
"""

import json
import os
import shutil
from collections.abc import Mapping
from typing import Final, NamedTuple

from kedge.cli.config import config_folder
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.fields import flag, mapping, text
from kedge.lib.jsontypes import JsonObject

DEFAULT: Final = "default"
TLS_FILES: Final = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
_PATTERN: Final = "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"


class Context(NamedTuple):
    """One entry of the store."""

    name: str
    document: JsonObject
    """The content of its ``meta.json``."""

    @property
    def host(self) -> str:
        """Address of its engine; empty where it has none."""
        return text(self.document, "Endpoints", "docker", "Host")

    @property
    def description(self) -> str:
        """What the person wrote about it."""
        return text(self.document, "Metadata", "Description")

    @property
    def skip_tls_verify(self) -> bool:
        """Whether its certificate is taken as it is."""
        return flag(self.document, "Endpoints", "docker", "SkipTLSVerify")


def check_name(name: str) -> None:
    """Refuse a name no context can have.

    Raises:
        InvalidParameterError: It is empty, reserved or malformed.
    """
    import re  # noqa: PLC0415 - rarely needed

    if not name:
        raise InvalidParameterError("context name cannot be empty")
    if name == DEFAULT:
        raise InvalidParameterError('"default" is a reserved context name')
    if re.fullmatch(_PATTERN.strip("^$"), name) is None:
        raise InvalidParameterError(
            f'context name "{name}" is invalid, names are validated against regexp "{_PATTERN}"'
        )


def _key(name: str) -> str:
    import hashlib  # noqa: PLC0415 - only where a context is used

    return hashlib.sha256(name.encode()).hexdigest()


def metadata_folder(name: str) -> str:
    """Return where a context's ``meta.json`` is."""
    return os.path.join(config_folder(), "contexts", "meta", _key(name))


def tls_folder(name: str) -> str:
    """Return where a context's key material is."""
    return os.path.join(config_folder(), "contexts", "tls", _key(name))


def load_context(name: str) -> Context:
    """Return a context of the store.

    Raises:
        NotFoundError: There is none.
        InvalidParameterError: Its file is damaged; it is named.
    """
    path = os.path.join(metadata_folder(name), "meta.json")
    try:
        with open(path, "rb") as file:
            document = json.load(file)
    except FileNotFoundError:
        raise NotFoundError(f'context "{name}": context not found') from None
    except ValueError as error:
        raise InvalidParameterError(f"{path} is not JSON: {error}") from None
    return Context(name, document if isinstance(document, dict) else {})


def list_contexts() -> list[Context]:
    """Return all contexts of the store, by name."""
    folder = os.path.join(config_folder(), "contexts", "meta")
    found: list[Context] = []
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        try:
            with open(os.path.join(folder, entry, "meta.json"), "rb") as file:
                document = json.load(file)
        except (OSError, ValueError):
            # Somebody else's unfinished entry is not ours to complain about.
            continue
        found.append(Context(text(document, "Name"), mapping(document)))
    return sorted(found, key=lambda context: context.name)


def load_tls(name: str) -> dict[str, bytes]:
    """Return the key material of a context by file name: ``ca.pem``, ``cert.pem``, ``key.pem``."""
    folder = os.path.join(tls_folder(name), "docker")
    found: dict[str, bytes] = {}
    for file_name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        with open(os.path.join(folder, file_name), "rb") as file:
            found[file_name] = file.read()
    return found


def store_context(context: Context, tls: Mapping[str, bytes] | None) -> None:
    """Write a context, whole or not at all; without ``tls`` its key material stays as it is."""
    folder = metadata_folder(context.name)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    if tls is not None:
        shutil.rmtree(tls_folder(context.name), ignore_errors=True)
        for file_name, content in tls.items():
            target = os.path.join(tls_folder(context.name), "docker")
            os.makedirs(target, mode=0o700, exist_ok=True)
            path = os.path.join(target, file_name)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(content)
    temporary = os.path.join(folder, f".{os.getpid()}")
    document = json.dumps(context.document, separators=(",", ":"), ensure_ascii=False)
    with open(temporary, "wb") as file:
        file.write(document.encode())
    os.replace(temporary, os.path.join(folder, "meta.json"))


def remove_context(name: str) -> None:
    """Remove a context and its key material.

    Raises:
        NotFoundError: There is none.
    """
    if not os.path.isdir(metadata_folder(name)):
        raise NotFoundError(f'context "{name}" does not exist')
    shutil.rmtree(tls_folder(name), ignore_errors=True)
    shutil.rmtree(metadata_folder(name))


def context_exists(name: str) -> bool:
    """Whether the store has it."""
    return os.path.exists(os.path.join(metadata_folder(name), "meta.json"))
