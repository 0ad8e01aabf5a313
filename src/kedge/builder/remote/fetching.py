"""What one build fetches: each URL once, closed with the build, with what its user lends."""

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit

from kedge.builder.files.directory import DigestMemo
from kedge.builder.files.tree import Tree
from kedge.builder.gitrefs import is_git_ref, parse_git_ref
from kedge.builder.operations import RemoteSource
from kedge.builder.remote.downloads import DownloadedFile, Downloads
from kedge.builder.remote.repositories import GitAccess, Repository
from kedge.builder.run_mounts import Lent
from kedge.lib.jsontypes import Json, JsonObject

CONTEXT_FILE: Final = "context"
_DEFAULT_AGENT: Final = "default"

Remote: TypeAlias = DownloadedFile | Repository


class Fetching:
    """The fetched things of one build; thread-safe. A context manager that removes them."""

    def __init__(
        self,
        downloads: Downloads,
        lent: Lent,
        *,
        memo: DigestMemo,
        scratch: str,
        keep_git_dir: bool,
        check: Callable[[], None],
    ) -> None:
        """Fetch nothing yet.

        Args:
            downloads: Shared by all builds.
            lent: Secrets and agents.
            memo: Digests of files.
            scratch: Directory for repositories.
            keep_git_dir: BUILDKIT_CONTEXT_KEEP_GIT_DIR.
            check: Raises when the build is cancelled.
        """
        self._downloads = downloads
        self._lent = lent
        self._memo = memo
        self._scratch = scratch
        self._keep_git_dir = keep_git_dir
        self._check = check
        self._open = ExitStack()
        self._lock = threading.Lock()
        self._remotes: dict[RemoteSource, Remote] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def source(self, source: RemoteSource) -> Remote:
        """Return what ADD or a context names; the same for the same words."""
        with self._lock:
            found = self._remotes.get(source)
            if found is None:
                found = self._remotes[source] = self._remote(source)
                self._open.callback(found.close)
        return found

    def context(self, url: str) -> Remote:
        """Return what a context URL names."""
        is_git = is_git_ref(url)
        keeps = is_git and self._keep_git_dir
        return self.source(
            RemoteSource(url=url, name=CONTEXT_FILE, is_git=is_git, keeps_git_dir=keeps)
        )

    def fetched(self) -> list[tuple[str, str, str]]:
        """Return what was fetched: URL, algorithm and digest in hexadecimal."""
        found: list[tuple[str, str, str]] = []
        with self._lock:
            remotes = list(self._remotes.items())
        for source, remote in remotes:
            if isinstance(remote, DownloadedFile):
                algorithm, _, encoded = remote.content_digest().partition(":")
                found.append((source.url, algorithm, encoded))
            else:
                found.append((source.url, "sha1", remote.commit()))
        return sorted(found)

    def _remote(self, source: RemoteSource) -> Remote:
        if not source.is_git:
            return DownloadedFile(
                downloads=self._downloads,
                url=source.url,
                name=source.name,
                headers=_authorization(self._lent.secrets, source.url),
                checksum=source.checksum,
                check=self._check,
            )
        ref = parse_git_ref(source.url)
        if source.checksum:
            ref = ref.with_checksum(source.checksum)
        return Repository(
            ref,
            scratch=self._scratch,
            memo=self._memo,
            access=GitAccess(
                secrets=self._lent.secrets, agent=self._lent.agents.get(_DEFAULT_AGENT, "")
            ),
            keep_git_dir=source.keeps_git_dir,
            check=self._check,
        )


def remote_fact(source: RemoteSource, remote: Remote) -> Json:
    """Return what of a remote source decides the result, for the cache key."""
    if isinstance(remote, DownloadedFile):
        return {"name": source.name, "digest": remote.content_digest()}
    facts: JsonObject = {**remote.facts()}
    # The same files have the same commit, wherever they come from.
    return {"name": "", "digest": remote.commit(), "git": facts}


def _authorization(secrets: Mapping[str, bytes], url: str) -> dict[str, str]:
    host = urlsplit(url).netloc.rpartition("@")[2]
    header = secrets.get(f"HTTP_AUTH_HEADER_{host}")
    if header is not None:
        return {"authorization": header.decode(errors="replace").strip()}
    token = secrets.get(f"HTTP_AUTH_TOKEN_{host}")
    if token is not None:
        return {"authorization": f"Bearer {token.decode(errors='replace').strip()}"}
    return {}


def remote_tree(remote: Remote) -> Tree:
    """Return the files of a remote source."""
    return remote if isinstance(remote, DownloadedFile) else remote.tree()
