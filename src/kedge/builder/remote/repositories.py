"""Git repositories, for ADD and for contexts: the program ``git`` asked and run.

A reference is looked up first; the commit is the key, so an unchanged repository is not fetched
again. What is fetched is the one commit, where the server allows that. Files get git's own two
modes, whoever runs the engine; submodules come along. Credentials go through the environment, never
on a command line; of the protocols only those a URL may name are allowed, also to submodules.
"""

import base64
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from kedge.builder.files.directory import DigestMemo, DirectoryTree
from kedge.builder.gitrefs import GitRef
from kedge.errdefs import (
    InvalidParameterError,
    NotFoundError,
    NotSupportedError,
    UnavailableError,
)

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CHECKSUM: Final = re.compile(r"[0-9a-f]{4,64}")
_POLL_S: Final = 0.1
_TOLD_CHARS: Final = 300
_ENVIRONMENT: Final = (
    "PATH", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
)  # fmt: skip
_SSH: Final = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new"


@dataclass(frozen=True, slots=True, kw_only=True)
class GitAccess:
    """What a build lends for its repositories."""

    secrets: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    agent: str = ""
    """Path of an ssh agent's socket."""

    def authorization(self, host: str) -> str:
        """Return the header for ``host`` from GIT_AUTH_TOKEN or GIT_AUTH_HEADER; or nothing."""
        for suffix in (f".{host}", ""):
            header = self.secrets.get(f"GIT_AUTH_HEADER{suffix}")
            if header is not None:
                return header.decode(errors="replace").strip()
            token = self.secrets.get(f"GIT_AUTH_TOKEN{suffix}")
            if token is not None:
                encoded = base64.b64encode(b"x-access-token:" + token.strip()).decode()
                return f"basic {encoded}"
        return ""


class Repository:
    """One reference to one repository in one build; close it after use."""

    def __init__(
        self,
        ref: GitRef,
        *,
        scratch: str,
        memo: DigestMemo,
        access: GitAccess,
        keep_git_dir: bool,
        check: Callable[[], None],
    ) -> None:
        """Ask nothing yet.

        Raises:
            InvalidParameterError: The reference could be taken for an option of git.
        """
        if ref.ref.startswith("-") or ref.remote.startswith("-"):
            raise InvalidParameterError(f"invalid git reference {ref.remote}#{ref.ref}")
        if ref.checksum and not _CHECKSUM.fullmatch(ref.checksum):
            raise InvalidParameterError(
                f"invalid checksum {ref.checksum} for {ref.remote}: want the commit in hexadecimal"
            )
        self._ref = ref
        self._scratch = scratch
        self._memo = memo
        self._access = access
        self._keep_git_dir = ref.keep_git_dir if ref.keep_git_dir is not None else keep_git_dir
        self._check = check
        self._committed_s = 0
        self._commit = ""
        self._tree: DirectoryTree | None = None
        self._folder = ""
        self._lock = threading.RLock()
        prefix = "https://" if ref.indistinguishable_from_local else ""
        self._remote = f"{prefix}{ref.remote}"
        self._shown = _without_user(self._remote)

    def commit(self) -> str:
        """Return the commit that is meant.

        Raises:
            NotFoundError: The repository does not have the reference.
            InvalidParameterError: It is another commit than the checksum says.
            NotSupportedError: This machine has no git.
        """
        with self._lock:
            if not self._commit:
                ref = self._ref.ref
                commit = ref if _COMMIT.fullmatch(ref) else self._looked_up(ref or "HEAD")
                if self._ref.checksum and not commit.startswith(self._ref.checksum):
                    raise InvalidParameterError(
                        f"{self._shown}: expected checksum to match {self._ref.checksum}, "
                        f"got {commit}"
                    )
                self._commit = commit
        return self._commit

    def facts(self) -> dict[str, str | bool]:
        """Return what decides which files this is."""
        return {
            "commit": self.commit(),
            "subdir": self._ref.subdir,
            "git": self._keep_git_dir,
            "submodules": self._ref.submodules is not False,
        }

    def tree(self) -> DirectoryTree:
        """Return the files, fetched now unless they are here.

        Raises:
            NotFoundError: The repository does not have the commit or the directory.
            UnavailableError: It cannot be fetched.
        """
        with self._lock:
            if self._tree is None:
                self._folder = tempfile.mkdtemp(prefix="git-", dir=self._scratch)
                checkout = os.path.join(self._folder, "checkout")
                self._fetch(checkout, self.commit())
                self._tree = DirectoryTree(self._below(checkout), self._memo)
        return self._tree

    def committed_ns(self) -> int:
        """Return when the commit was made, in nanoseconds; fetches it unless it is here."""
        self.tree()
        return self._committed_s * 1_000_000_000

    def close(self) -> None:
        """Remove what was fetched."""
        if self._tree is not None:
            self._tree.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _below(self, checkout: str) -> str:
        subdir = self._ref.subdir.strip("/")
        if not subdir:
            return checkout
        path = os.path.realpath(os.path.join(checkout, subdir))
        inside = path.startswith(os.path.realpath(checkout) + os.sep)
        if not inside or not os.path.isdir(path):
            raise NotFoundError(f"{self._shown} has no directory {subdir}")
        return path

    def _looked_up(self, ref: str) -> str:
        listed = self._git("ls-remote", "--", self._remote, ref, f"{ref}^{{}}")
        found: dict[str, str] = {}
        for line in listed.splitlines():
            commit, _, name = line.partition("\t")
            found[name] = commit
        names = (ref,) if ref.startswith("refs/") or ref == "HEAD" else (
            f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}", ref,
        )  # fmt: skip
        for name in names:
            commit = found.get(f"{name}^{{}}", found.get(name, ""))
            if _COMMIT.fullmatch(commit):
                return commit
        raise NotFoundError(f"repository {self._shown} does not contain ref {ref}")

    def _fetch(self, checkout: str, commit: str) -> None:
        os.mkdir(checkout)
        self._git("init", "-q", "--initial-branch=kedge", cwd=checkout)
        self._git("remote", "add", "origin", self._remote, cwd=checkout)
        try:
            self._git("fetch", "-q", "--depth=1", "--no-tags", "origin", commit, cwd=checkout)
        except UnavailableError:
            # A server may refuse to give a commit by its name; then everything comes.
            heads = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
            self._git("fetch", "-q", "origin", *heads, cwd=checkout)
        try:
            self._git("-c", "advice.detachedHead=false", "checkout", "-q", commit, cwd=checkout)
            self._committed_s = int(self._git("show", "-s", "--format=%ct", commit, cwd=checkout))
        except UnavailableError:
            raise NotFoundError(
                f"repository {self._shown} does not contain commit {commit}"
            ) from None
        if self._ref.submodules is not False and os.path.exists(f"{checkout}/.gitmodules"):
            self._git(
                "submodule", "update", "--init", "--recursive", "--depth=1", "-q", cwd=checkout
            )
        if not self._keep_git_dir:
            _remove_git(checkout)

    def _environment(self) -> dict[str, str]:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment |= {
            "LC_ALL": "C",
            "HOME": self._scratch,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "http:https:ssh:git",
            "GIT_SSH_COMMAND": _SSH,
        }
        if self._access.agent:
            environment["SSH_AUTH_SOCK"] = self._access.agent
        parts = urlsplit(self._remote)
        host = parts.netloc.rpartition("@")[2]
        authorization = self._access.authorization(host)
        if authorization and parts.scheme in ("http", "https"):
            environment |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{host}/.extraheader",
                "GIT_CONFIG_VALUE_0": f"Authorization: {authorization}",
            }
        return environment

    def _git(self, *words: str, cwd: str | None = None) -> str:
        """Run git and return what it printed; a cancelled build kills it."""
        program = shutil.which("git")
        if program is None:
            raise NotSupportedError(
                f"{self._shown} needs git where the engine runs: install git, or fetch the "
                "repository yourself and COPY it"
            )
        with tempfile.TemporaryFile(dir=self._scratch) as out, tempfile.TemporaryFile() as told:
            process = subprocess.Popen(
                [program, *words],
                cwd=cwd or self._scratch,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=told,
                umask=0o022,
                start_new_session=True,
            )
            try:
                self._wait(process)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, 9)
                    process.wait()
            told.seek(0)
            out.seek(0)
            if process.returncode:
                why = _why(told.read()).replace(self._remote, self._shown)
                raise UnavailableError(f"git {_verb(words)} {self._shown}: {why}")
            return out.read().decode(errors="replace")

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        while True:
            try:
                process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                self._check()
            else:
                return


def _without_user(remote: str) -> str:
    scheme, mark, rest = remote.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" if mark else remote


def _verb(words: tuple[str, ...]) -> str:
    return next((word for word in words if word.isalpha() or word == "ls-remote"), "")


def _why(told: bytes) -> str:
    lines = [line.strip() for line in told.decode(errors="replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    text = (fatal or lines or ["no reason given"])[0]
    return text.partition(": ")[2][:_TOLD_CHARS] if fatal else text[:_TOLD_CHARS]


def _remove_git(checkout: str) -> None:
    """Remove what only git needs: the repository, and the links submodules have to theirs."""
    for folder, folders, files in os.walk(checkout):
        if ".git" in folders:
            folders.remove(".git")
            shutil.rmtree(os.path.join(folder, ".git"))
        if ".git" in files:
            os.unlink(os.path.join(folder, ".git"))
