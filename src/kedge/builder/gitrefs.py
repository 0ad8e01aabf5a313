"""Git build contexts and ``ADD`` sources: which texts name a repository, and what of it.

Vocabulary of BuildKit's ``dfgitutil``: remote, ref, subdir, checksum. Parsing only; cloning is
the work of `kedge.builder.remote.repositories`.
"""

import difflib
import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from kedge.errdefs import InvalidParameterError

_SCHEME: Final = re.compile(r"([a-zA-Z0-9]+)://")
_SCHEMES: Final = ("http", "https", "ssh", "git")
_SCP: Final = re.compile(r"([a-zA-Z0-9-_]+)@([a-zA-Z0-9-.]+):([^?#]*)(?:\?([^#]*))?(?:#(.*))?")


class NoGitReferenceError(InvalidParameterError):
    """A text that names no repository at all: a path, or some other URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """What follows ``#``: a reference and a directory."""

    ref: str
    subdir: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitUrl:
    """A repository URL in either of Git's spellings."""

    scheme: str
    host: str
    path: str
    userinfo: str
    query: dict[str, list[str]] | None
    fragment: Fragment | None
    remote: str
    """What to hand to git: no query, no fragment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRef:
    """A repository, and the part of it that is meant."""

    remote: str
    short_name: str
    ref: str = ""
    checksum: str = ""
    subdir: str = ""
    mtime: str = ""
    fetch_by_commit: bool = False
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    indistinguishable_from_local: bool = False
    unencrypted_tcp: bool = False

    def with_checksum(self, checksum: str) -> "GitRef":
        """Return the same, whose commit must begin with ``checksum``.

        Raises:
            InvalidParameterError: Its query asks for another.
        """
        if self.checksum and self.checksum != checksum:
            raise InvalidParameterError(f"checksum conflicts: {self.checksum} and {checksum}")
        return replace(self, checksum=checksum)


def parse_git_url(text: str) -> GitUrl:
    """Return the parts of a URL or of ``user@host:path``.

    Raises:
        NoGitReferenceError: It is neither, or the protocol is not one git speaks.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _scp_url(text)
    if scheme[1].lower() not in _SCHEMES:
        raise NoGitReferenceError(f"invalid protocol: {scheme[1]}")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise InvalidParameterError(f"invalid git url {text}: {error}") from None
    userinfo, _, host = parts.netloc.rpartition("@")
    return GitUrl(
        scheme=parts.scheme,
        host=host,
        path=unquote(parts.path),
        userinfo=unquote(userinfo),
        query=_query(parts.query),
        fragment=_fragment(unquote(parts.fragment)),
        remote=f"{parts.scheme}://{parts.netloc}{parts.path}",
    )


def _scp_url(text: str) -> GitUrl:
    match = _SCP.fullmatch(text)
    if match is None:
        raise NoGitReferenceError(f"unknown protocol: {text}")
    return GitUrl(
        scheme="ssh",
        host=match[2],
        path=match[3],
        userinfo=match[1],
        query=_query(match[4] or ""),
        fragment=_fragment(match[5] or ""),
        remote=f"{match[1]}@{match[2]}:{match[3]}",
    )


def _query(text: str) -> dict[str, list[str]] | None:
    return parse_qs(text, keep_blank_values=True) if text else None


def _fragment(text: str) -> Fragment | None:
    if not text:
        return None
    ref, _, subdir = text.partition(":")
    return Fragment(ref=ref, subdir=subdir)


def parse_git_ref(text: str) -> GitRef:
    """Return the repository that a build context or ADD source names.

    Raises:
        NoGitReferenceError: It names none.
        InvalidParameterError: Its query contradicts itself.
    """
    if text.startswith(("./", "../")):
        raise NoGitReferenceError(f"not a git reference: {text}")
    is_github_path = text.startswith("github.com/")
    url = parse_git_url(f"https://{text}" if is_github_path else text)
    if not is_github_path and url.scheme in ("http", "https") and not url.path.endswith(".git"):
        raise NoGitReferenceError(f"not a git reference: {text}")
    remote = url.remote.removeprefix("https://") if is_github_path else url.remote
    fragment = url.fragment or Fragment(ref="")
    query = _Query(url.query or {})
    ref = query.ref(fragment.ref)
    subdir = query.one("subdir", fragment.subdir)
    parsed = GitRef(
        remote=remote,
        short_name=remote.rpartition("/")[2].removesuffix(".git"),
        ref=ref,
        subdir=subdir,
        checksum=query.one("checksum", query.one("commit", "")),
        mtime=query.mtime(),
        fetch_by_commit=query.switch("fetch-by-commit") or False,
        keep_git_dir=query.switch("keep-git-dir"),
        submodules=query.switch("submodules"),
        indistinguishable_from_local=is_github_path,
        unencrypted_tcp=url.scheme in ("http", "git"),
    )
    query.finish()
    return parsed


def is_git_ref(text: str) -> bool:
    """Say whether ``text`` names a git repository, be its query right or wrong."""
    try:
        parse_git_ref(text)
    except NoGitReferenceError:
        return False
    except InvalidParameterError:
        return True
    return True


def is_remote(text: str) -> bool:
    """Say whether ``text`` names a place to fetch from, and no local path."""
    return text.startswith(("http://", "https://")) or is_git_ref(text)


def is_like_path(text: str) -> bool:
    """Say whether ``text`` is also a path: ``github.com/...`` is a repository only as context."""
    return text.startswith("github.com/")


class _Query:
    """The query of a git reference; what nobody asked for is an error."""

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values
        self._used: set[str] = set()

    def one(self, name: str, default: str) -> str:
        self._used.add(name)
        values = self._values.get(name)
        if values is None:
            return default
        if default and default != values[-1]:
            raise InvalidParameterError(f"{name} conflicts: {default} and {values[-1]}")
        return values[-1]

    def ref(self, from_fragment: str) -> str:
        tag = self.one("tag", "")
        branch = self.one("branch", "")
        if tag and branch:
            raise InvalidParameterError("branch conflicts with tag")
        named = f"refs/tags/{tag}" if tag else f"refs/heads/{branch}" if branch else ""
        given = self.one("ref", from_fragment)
        if named and given and named != given:
            raise InvalidParameterError(f"ref conflicts: {given} and {named}")
        return named or given

    def mtime(self) -> str:
        value = self.one("mtime", "")
        if value not in ("", "commit", "checkout"):
            raise InvalidParameterError(f"invalid mtime value: {value}")
        return value

    def switch(self, name: str) -> bool | None:
        self._used.add(name)
        if name not in self._values:
            return None
        value = self._values[name][-1].lower()
        if value in ("", "1", "t", "true"):
            return True
        if value in ("0", "f", "false"):
            return False
        raise InvalidParameterError(f"invalid {name} value: {value}")

    def finish(self) -> None:
        for name in self._values:
            if name not in self._used:
                near = difflib.get_close_matches(name, self._used, n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise InvalidParameterError(f'unexpected query "{name}" in a git URL{hint}')


def format_git_ref(text: str, *, keep_subdir: bool) -> tuple[str, bool]:
    """Return ``url#ref[:subdir]`` for a git reference and True; any other text and False."""
    try:
        parsed = parse_git_ref(text)
    except InvalidParameterError:
        return text, False
    fragment = quote(parsed.ref, safe="/:@!$&'()*+,;=~-._")
    if keep_subdir and parsed.subdir:
        fragment += f":{parsed.subdir.lstrip('/')}"
    return (f"{parsed.remote}#{fragment}" if fragment else parsed.remote), True
