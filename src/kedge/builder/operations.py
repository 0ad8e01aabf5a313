"""What a step does to the file system, as plain data, and the key under which its result is kept.

A key is the sha256 of canonical JSON ``{v, op, inputs}``. The operation says what is done; the
inputs say to what: the chain id below, and the content of what is copied. Never in a key: times,
proxy variables, host certificates, the address of an extra host.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from kedge.builder.dockerfile.mounts import MountKind, RunMount
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci.hashing import sha256_digest

KEY_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOperation:
    """Run a command on top of what stands."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    """The image's variables and the visible arguments."""
    cwd: str
    user: str
    network: str
    shell_text: str
    """The command as an error message shows it."""
    mounts: tuple[RunMount, ...] = ()
    script: str = ""
    """A here-document that begins with ``#!``, put where ``args`` expects it."""
    script_name: str = ""
    proxy: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    """``name:address``."""
    is_insecure: bool = False
    """``--security=insecure``: with all a privileged container has."""

    def describe(self) -> JsonObject:
        """Return what of this operation decides the result."""
        return {
            "kind": "run",
            "args": [*self.args],
            "env": [*self.env],
            "cwd": self.cwd,
            "user": self.user,
            "network": self.network,
            "mounts": [_describe_mount(mount) for mount in self.mounts],
            "script": self.script,
            "hosts": [*sorted({host.partition(":")[0] for host in self.hosts})],
            **({"security": "insecure"} if self.is_insecure else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineFile:
    """A file whose content stands in the Dockerfile."""

    name: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSource:
    """What ADD fetches: a file at a URL, or a git repository."""

    url: str
    name: str
    """What the file is called in a directory."""
    is_git: bool
    checksum: str = ""
    keeps_git_dir: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOperation:
    """Copy or add files; paths are expanded, the destination is absolute."""

    instruction: str
    """``COPY`` or ``ADD``, for messages."""
    sources: tuple[str, ...]
    files: tuple[InlineFile, ...]
    destination: str
    into_directory: bool
    """The destination ends in a slash."""
    from_: str = ""
    owner: str = ""
    mode: str = ""
    exclude: tuple[str, ...] = ()
    keeps_parents: bool = False
    unpacks: bool = False
    is_link: bool = False
    remotes: tuple[RemoteSource, ...] = ()
    unpacks_remotes: bool = False

    def describe(self) -> JsonObject:
        """Return what of this operation, beside its sources, decides the result."""
        return {
            "kind": "copy",
            "destination": self.destination,
            "into_directory": self.into_directory,
            "owner": self.owner,
            "mode": self.mode,
            "parents": self.keeps_parents,
            "unpack": self.unpacks,
            "link": self.is_link,
            **({"unpack_remotes": True} if self.unpacks_remotes else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDirectory:
    """Make the working directory where it does not exist."""

    path: str
    owner: str

    def describe(self) -> JsonObject:
        """Return what decides the result."""
        return {"kind": "mkdir", "path": self.path, "owner": self.owner}


Operation: TypeAlias = RunOperation | CopyOperation | MakeDirectory


def _describe_mount(mount: RunMount) -> Json:
    """Return what of a mount decides the result: never what a cache or a secret holds."""
    described: JsonObject = {
        "kind": mount.kind,
        "target": mount.target,
        "size": mount.size_bytes,
        "readonly": mount.read_only,
    }
    if mount.kind in (MountKind.SECRET, MountKind.SSH):
        described |= {
            "id": mount.cache_id,
            "env": mount.variable,
            "mode": mount.mode,
            "owner": [mount.uid, mount.gid],
        }
    return described


def canonical_json(document: Mapping[str, Json]) -> str:
    """Return the one spelling equal documents have."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def key_document(operation: JsonObject, inputs: Iterable[Json], epoch_ns: int | None) -> str:
    """Return the canonical text of ``operation`` applied to ``inputs``; the key is its hash."""
    document: JsonObject = {"v": KEY_VERSION, "op": operation, "inputs": [*inputs]}
    if epoch_ns is not None:
        document["epoch"] = epoch_ns
    return canonical_json(document)


def cache_key(document: str) -> str:
    """Return the key that a `key_document` has."""
    return sha256_digest(document.encode())
