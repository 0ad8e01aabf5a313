"""Where packages come from: the operator's choice, this host's own sources, or Debian's CDN.

Reads `sources.list(5)` in both formats. Only entries that are Debian's own count: those signed by
the archive keyring, or beside which the same URI serves ``-updates``.
"""

import glob
import os
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError
from kedge.images.bootstrap.control import parse_fields

MIRROR_VARIABLE: Final = "KEDGE_DEBIAN_MIRROR"
SECURITY_VARIABLE: Final = "KEDGE_DEBIAN_SECURITY_MIRROR"
NO_SECURITY: Final = "none"

_DEFAULT: Final = "http://deb.debian.org/debian"
_DEFAULT_SECURITY: Final = "http://deb.debian.org/debian-security"
_MAIN: Final = "/debian"
_SECURITY: Final = "/debian-security"


class Mirrors(NamedTuple):
    """URLs without a slash at the end."""

    main: str
    security: str
    """Empty where there is none, by the operator's choice."""


class _Source(NamedTuple):
    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str


def find_mirrors(environ: Mapping[str, str], *, apt: str = "/etc/apt") -> Mirrors:
    """Return the mirrors to use.

    Args:
        environ: ``KEDGE_DEBIAN_MIRROR`` and ``KEDGE_DEBIAN_SECURITY_MIRROR`` win; the latter may be
            ``none``.
        apt: The host's configuration of apt.

    Raises:
        InvalidParameterError: A variable is not an HTTP URL.
    """
    main = _url(environ, MIRROR_VARIABLE)
    security = _url(environ, SECURITY_VARIABLE)
    if not main:
        found = _host_mirrors(apt)
        main = found.main
        security = security or found.security
    if security == NO_SECURITY:
        return Mirrors(main, "")
    return Mirrors(main, security or _beside(main))


def _url(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip().rstrip("/")
    if (
        value
        and not value.startswith(("http://", "https://"))
        and (name != SECURITY_VARIABLE or value != NO_SECURITY)
    ):
        raise InvalidParameterError(f'{name}: "{value}" is not an http or https URL')
    return value


def _beside(main: str) -> str:
    """Return where a mirror at ``main`` has the security archive by custom."""
    return f"{main}-security" if main.endswith(_MAIN) else f"{main}/debian-security"


def _host_mirrors(apt: str) -> Mirrors:
    main = security = ""
    sources = list(_read_sources(apt))
    with_updates = {
        source.uri
        for source in sources
        if any(suite.endswith("-updates") for suite in source.suites)
    }
    for source in sources:
        is_debian = "debian-archive" in source.signed_by or source.uri in with_updates
        if "main" not in source.components:
            continue
        if any(suite.partition("/")[0].endswith("-security") for suite in source.suites):
            if is_debian or source.uri.endswith(_SECURITY):
                security = security or source.uri
        elif is_debian and source.uri.endswith(_MAIN):
            main = main or source.uri
    return Mirrors(main, security) if main else Mirrors(_DEFAULT, _DEFAULT_SECURITY)


def _read_sources(apt: str) -> Iterator[_Source]:
    parts = os.path.join(apt, "sources.list.d")
    for path in (os.path.join(apt, "sources.list"), *sorted(glob.glob(f"{parts}/*.list"))):
        yield from _parse_lines(_read(path))
    for path in sorted(glob.glob(f"{parts}/*.sources")):
        yield from _parse_stanzas(_read(path))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _parse_lines(text: str) -> Iterator[_Source]:
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] != "deb":
            continue
        signed_by = ""
        if len(words) > 1 and words[1].startswith("["):
            end = next((n for n, word in enumerate(words) if word.endswith("]")), len(words))
            signed_by = " ".join(words[1 : end + 1])
            words = [words[0], *words[end + 1 :]]
        if len(words) > 3 and words[1].startswith(("http://", "https://")):
            yield _Source(words[1].rstrip("/"), (words[2],), tuple(words[3:]), signed_by)


def _parse_stanzas(text: str) -> Iterator[_Source]:
    for stanza in text.split("\n\n"):
        fields = parse_fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        for uri in fields.get("uris", "").split():
            if uri.startswith(("http://", "https://")):
                yield _Source(
                    uri.rstrip("/"),
                    tuple(fields.get("suites", "").split()),
                    tuple(fields.get("components", "").split()),
                    fields.get("signed-by", ""),
                )
