"""Docker's ``~/.docker/config.json``, which kedge shares: read here, and changed field by field.

Missing fields and a missing file are empty. Fields of others stay as they are.
"""

from __future__ import annotations

import os

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

    from kedge.cli.flags import Options
    from kedge.lib.jsontypes import Json, JsonObject


_loaded: Final[dict[str, JsonObject]] = {}
"""Files read before, by path: a command asks for several fields."""
_PROXIES: Final = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "noProxy": "NO_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
}


def config_folder(environ: Mapping[str, str] | None = None) -> str:
    """Return the folder of Docker's client: ``DOCKER_CONFIG``, or ``~/.docker``."""
    environ = os.environ if environ is None else environ
    return environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")


def config_path() -> str:
    """Return where the file is."""
    return os.path.join(config_folder(), "config.json")


def load_config() -> JsonObject:
    """Return the file's content.

    Raises:
        InvalidParameterError: It cannot be read or is not JSON; it is named.
    """
    path = config_path()
    if path in _loaded:
        return _loaded[path]
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        _loaded[path] = {}
        return {}
    except OSError as error:
        raise InvalidParameterError(f"open {path}: {(error.strerror or '').lower()}") from None
    if not content.strip():
        return {}
    import json  # noqa: PLC0415 - only where there is a file

    try:
        document: Json = json.loads(content)
    except ValueError as error:
        raise InvalidParameterError(f"{path} is not JSON: {error}") from None
    _loaded[path] = document if isinstance(document, dict) else {}
    return _loaded[path]


def configured_detach_keys(options: Options) -> str:
    """Return ``--detach-keys``, or the keys of the file; empty for the engine's default."""
    found = options.text("detach-keys") or load_config().get("detachKeys")
    return found if isinstance(found, str) else ""


def proxy_environment(given: Iterable[str], host: str = "default") -> list[str]:
    """Return ``NAME=value`` for the proxies of the file, in both spellings Docker writes.

    Args:
        given: Variables that are set already, which win.
        host: The engine; the file may have proxies for one engine only.
    """
    proxies = load_config().get("proxies")
    if not isinstance(proxies, dict):
        return []
    found = proxies.get(host) or proxies.get("default")
    if not isinstance(found, dict):
        return []
    names = {pair.partition("=")[0] for pair in given}
    result: list[str] = []
    for key, name in _PROXIES.items():
        text = found.get(key)
        if isinstance(text, str) and text:
            result += [f"{n}={text}" for n in (name, name.lower()) if n not in names]
    return result


def configured_format(name: str, given: str) -> str:
    """Return a ``--format``: the one given, or the configured one called ``name``."""
    if given:
        return given
    found = load_config().get(name)
    return found if isinstance(found, str) else ""


def change_config(name: str, text: str) -> None:
    """Set a text of the file, or take it out where ``text`` is empty, in one step.

    Raises:
        InvalidParameterError: The file is there and cannot be read.
    """
    import json  # noqa: PLC0415 - rarely needed

    _loaded.clear()
    document = {key: content for key, content in load_config().items() if key != name}
    if text:
        document[name] = text
    _loaded.clear()
    path = os.path.realpath(config_path())
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    # The file holds passwords: nobody else may read it, not even for a moment.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent="\t", ensure_ascii=False))
    os.replace(temporary, path)
