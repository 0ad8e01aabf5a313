"""``hosts.toml``: the mirrors of any registry, in containerd's format, read at each pull.

The file is ``HOST/hosts.toml`` below ``certs.d``, or ``_default/hosts.toml`` for all others. Beside
containerd's keys there is ``rewrite``, a table of regular expressions and what replaces them in the
repository's path. A key that is not honoured is refused by name.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

from kedge.distribution.endpoints import Endpoint, is_insecure
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject

_FILE_KEYS: Final = frozenset({"server", "host"})
_COMMON_KEYS: Final = frozenset({"capabilities", "ca", "client", "skip_verify", "override_path"})
_TABLES: Final = frozenset({"header", "rewrite"})
_CAPABILITIES: Final = frozenset({"pull", "resolve", "push"})
_DEFAULT: Final = "_default"


class RegistryHosts(NamedTuple):
    """What a file says."""

    mirrors: tuple[Endpoint, ...]
    """To be asked first, in this order."""
    server: Endpoint | None
    """Instead of the registry itself; None where the file does not say."""


def load_hosts(
    domain: str, directories: Sequence[str], insecure: Sequence[str]
) -> RegistryHosts | None:
    """Return what the first file for ``domain`` says; None without one.

    Raises:
        InvalidParameterError: The file cannot be read or says what is not honoured.
    """
    for name in (domain, _DEFAULT):
        for directory in directories:
            path = os.path.join(directory, name, "hosts.toml")
            document = _load(path)
            if document is not None:
                return _HostsFile(path, domain, insecure).parse(document)
    return None


def _load(path: str) -> JsonObject | None:
    try:
        with open(path, "rb") as stream:
            return cast("JsonObject", tomllib.load(stream))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InvalidParameterError(f"{path}: {error}") from None


class _HostsFile:
    """One file being read."""

    def __init__(self, path: str, domain: str, insecure: Sequence[str]) -> None:
        self._path = path
        self._domain = domain
        self._insecure = insecure

    def parse(self, document: JsonObject) -> RegistryHosts:
        own = {key: value for key, value in document.items() if key not in _FILE_KEYS}
        server = document.get("server", "")
        hosts = document.get("host", {})
        if not isinstance(server, str) or not isinstance(hosts, dict):
            raise self._bad("server", "want a URL, and host tables")
        if own and not server:
            raise self._bad(next(iter(own)), "needs server")
        mirrors: list[Endpoint] = []
        for url, table in hosts.items():
            if not isinstance(table, dict):
                raise self._bad(f'host."{url}"', "want a table")
            mirrors.append(self._endpoint(url, table, is_mirror=True))
        return RegistryHosts(
            tuple(mirror for mirror in mirrors if mirror.can_pull),
            self._endpoint(server, own, is_mirror=False) if server else None,
        )

    def _endpoint(self, url: str, table: JsonObject, *, is_mirror: bool) -> Endpoint:
        unknown = sorted(set(table) - _COMMON_KEYS - _TABLES)
        if unknown:
            raise self._bad(unknown[0], "is not honoured")
        parts = urlsplit(url if "://" in url else f"https://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise self._bad(url, "want http://HOST or https://HOST")
        path = parts.path.rstrip("/")
        overrides = self._boolean(table, "override_path")
        capabilities = set(self._texts(table, "capabilities", sorted(_CAPABILITIES)))
        if capabilities - _CAPABILITIES:
            raise self._bad("capabilities", "want pull, resolve and push")
        verify = not (
            self._boolean(table, "skip_verify") or is_insecure(parts.netloc, self._insecure)
        )
        return Endpoint(
            host=parts.netloc,
            schemes=(parts.scheme,),
            verify_tls=verify,
            is_mirror=is_mirror,
            prefix=path if overrides else path.removesuffix("/v2"),
            root="" if overrides else "/v2",
            namespace=self._domain if is_mirror else "",
            headers=self._headers(table),
            authorities=tuple(map(self._file, self._texts(table, "ca", []))),
            client_pairs=self._pairs(table),
            rewrites=self._rewrites(table),
            can_pull="pull" in capabilities,
            can_resolve="resolve" in capabilities,
        )

    def _pairs(self, table: JsonObject) -> tuple[tuple[str, str], ...]:
        value = table.get("client", [])
        items: Iterable[Json] = value if isinstance(value, list) else [value]
        pairs: list[tuple[str, str]] = []
        for item in items:
            files = item if isinstance(item, list) else [item, item]
            if len(files) != 2 or not all(isinstance(file, str) for file in files):
                raise self._bad("client", "want files, or pairs of certificate and key")
            certificate, key = (self._file(str(file)) for file in files)
            pairs.append((certificate, key))
        return tuple(pairs)

    def _rewrites(self, table: JsonObject) -> tuple[tuple[str, str], ...]:
        rules = self._table(table, "rewrite")
        for pattern in rules:
            try:
                re.compile(pattern)
            except re.error as error:
                raise self._bad(f'rewrite."{pattern}"', str(error)) from None
        # Other tools write $1 where Python writes \1.
        return tuple((p, re.sub(r"\$(\d)", r"\\\1", text)) for p, text in rules.items())

    def _headers(self, table: JsonObject) -> dict[str, str]:
        headers = self._table(table, "header")
        for name, text in headers.items():
            if not (name + text).isprintable():
                raise self._bad(f"header.{name}", "has control characters")
        return {name.lower(): text for name, text in headers.items()}

    def _table(self, table: JsonObject, key: str) -> dict[str, str]:
        value = table.get(key, {})
        if not isinstance(value, dict):
            raise self._bad(key, "want a table")
        result: dict[str, str] = {}
        for name, item in value.items():
            texts = item if isinstance(item, list) else [item]
            if not all(isinstance(text, str) for text in texts):
                raise self._bad(f"{key}.{name}", "want text")
            result[name] = ", ".join(map(str, texts))
        return result

    def _texts(self, table: JsonObject, key: str, default: list[str]) -> list[str]:
        value = table.get(key, cast("Json", default))
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in items):
            raise self._bad(key, "want text or a list of it")
        return [str(item) for item in items]

    def _boolean(self, table: JsonObject, key: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            raise self._bad(key, "want true or false")
        return value

    def _file(self, name: str) -> str:
        return os.path.join(os.path.dirname(self._path), name)

    def _bad(self, key: str, reason: str) -> InvalidParameterError:
        return InvalidParameterError(f"{self._path}: {key}: {reason}")
