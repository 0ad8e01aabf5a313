"""Indexes made by hand: manifests of a registry joined under one name, and pushed.

A list is kept as plain JSON until it is pushed, so that it can be annotated one entry at a time.
"""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, cast

import msgspec

from kedge.distribution.access import RegistryAccess
from kedge.distribution.copying import CopyOptions, ImageCopy
from kedge.distribution.failures import RegistryRefusedError, pull_failure, push_failure
from kedge.distribution.places import Document, RegistryPlace
from kedge.errdefs import ConflictError, InvalidParameterError, NotFoundError
from kedge.lib.atomicfile import write_atomic
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci import media_types
from kedge.oci.hashing import sha256_digest
from kedge.oci.image_spec import (
    Descriptor,
    Index,
    PlatformFields,
    encode_document,
    parse_image_config,
    parse_manifest,
)
from kedge.oci.references import Reference, parse_reference

_CONFIG_MAX_BYTES: Final = 8 << 20


class Entry(msgspec.Struct, frozen=True):
    """One manifest of a list."""

    ref: str
    """Where it is, in full."""
    descriptor: Descriptor


class Platformed(NamedTuple):
    """What an annotation changes; empty parts stay."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""


class ManifestLists:
    """The lists in one directory."""

    def __init__(self, directory: str) -> None:
        """Use ``directory``, which may not exist yet."""
        self._directory = directory

    def load(self, name: Reference) -> list[Entry] | None:
        """Return the entries of a list; None where there is no such list.

        Raises:
            InvalidParameterError: The file is damaged.
        """
        path = self._path(name)
        try:
            with open(path, "rb") as stream:
                return msgspec.json.decode(stream.read(), type=list[Entry])
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise InvalidParameterError(f"manifest list {path}: {error}") from None

    def require(self, name: Reference) -> list[Entry]:
        """Return the entries of a list.

        Raises:
            NotFoundError: There is none.
        """
        entries = self.load(name)
        if entries is None:
            raise NotFoundError(f"No such manifest: {name.familiar()}")
        return entries

    def save(self, name: Reference, entries: Sequence[Entry]) -> None:
        """Keep a list."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        write_atomic(self._path(name), msgspec.json.encode(list(entries)))

    def remove(self, name: Reference) -> None:
        """Forget a list.

        Raises:
            NotFoundError: There is none.
        """
        self.require(name)
        with suppress(FileNotFoundError):
            os.unlink(self._path(name))

    def _path(self, name: Reference) -> str:
        # Slashes and colons cannot be in a file name on every system; % is in no reference.
        escaped = name.canonical().replace("/", "%2F").replace(":", "%3A")
        return os.path.join(self._directory, f"{escaped}.json")


def create_list(
    lists: ManifestLists,
    name: Reference,
    sources: Sequence[Reference],
    access: RegistryAccess,
    *,
    amend: bool,
) -> None:
    """Make a list of manifests that registries have, or add to one.

    Raises:
        ConflictError: There is such a list and ``amend`` was not asked for.
        KedgeError: A manifest is not there or is no manifest of one image.
    """
    known = lists.load(name)
    if known and not amend:
        raise ConflictError(
            f"refusing to amend an existing manifest list with no --amend flag: {name.familiar()}"
        )
    entries = {entry.descriptor.digest: entry for entry in known or []}
    for source in sources:
        entry = find_entry(source, access)
        entries[entry.descriptor.digest] = entry
    lists.save(name, [*entries.values()])


def find_entry(reference: Reference, access: RegistryAccess) -> Entry:
    """Return the entry for a manifest, its platform read from its config.

    Raises:
        InvalidParameterError: It is a list itself.
        KedgeError: It is not there.
    """
    document = fetch_document(reference, access)
    if document.media_type in media_types.INDEXES:
        raise InvalidParameterError(f"{reference.familiar()} is a manifest list")
    manifest = parse_manifest(document.data)
    platform: PlatformFields | None = None
    if manifest.config.media_type in media_types.CONFIGS:
        config = parse_image_config(
            access.client(reference).small_blob(manifest.config.digest, _CONFIG_MAX_BYTES)
        )
        platform = PlatformFields(
            architecture=config.architecture,
            os=config.os,
            variant=config.variant,
            os_version=config.os_version,
        )
    descriptor = Descriptor(
        document.media_type, document.digest, len(document.data), platform=platform
    )
    source = Reference(reference.domain, reference.path, digest=document.digest)
    return Entry(source.canonical(), descriptor)


def fetch_document(reference: Reference, access: RegistryAccess) -> Document:
    """Return what a registry has under a name, in Docker's words where it has nothing."""
    reference = reference.with_default_tag()
    client = access.client(reference)
    try:
        return RegistryPlace(client, reference.digest or reference.tag).document("")
    except RegistryRefusedError as error:
        raise pull_failure(error.problem, reference, client.endpoint.address) from error


def annotate(lists: ManifestLists, name: Reference, source: Reference, change: Platformed) -> None:
    """Say for which platform an entry of a list is.

    Raises:
        NotFoundError: There is no such list, or it has no such entry.
    """
    entries = lists.require(name)
    position = _position(entries, source)
    entry = entries[position]
    old = entry.descriptor.platform or PlatformFields()
    platform = PlatformFields(
        architecture=change.architecture or old.architecture,
        os=change.os or old.os,
        variant=change.variant or old.variant,
        os_version=change.os_version or old.os_version,
    )
    if not platform.os or not platform.architecture:
        raise InvalidParameterError(
            f"manifest {source.familiar()} needs both --os and --arch: it says neither itself"
        )
    descriptor = msgspec.structs.replace(entry.descriptor, platform=platform)
    entries[position] = Entry(entry.ref, descriptor)
    lists.save(name, entries)


def _position(entries: Sequence[Entry], source: Reference) -> int:
    wanted = source.with_default_tag()
    for position, entry in enumerate(entries):
        found = parse_reference(entry.ref)
        if found.name == wanted.name and wanted.digest in {"", found.digest}:
            same = [e for e in entries if parse_reference(e.ref).name == wanted.name]
            if wanted.digest or len(same) == 1:
                return position
            raise InvalidParameterError(
                f"several manifests of the list are of {wanted.name}: name one by its digest, "
                + ", ".join(e.ref for e in same)
            )
    raise NotFoundError(f"manifest for image {source.familiar()} does not exist in the list")


def push_list(
    lists: ManifestLists,
    name: Reference,
    access: RegistryAccess,
    report: Callable[[str], None] = lambda _line: None,
) -> str:
    """Push a list with the manifests it names; return its digest.

    Raises:
        NotFoundError: There is no such list, or a manifest is gone.
        KedgeError: The registry does not take it.
    """
    entries = lists.require(name)
    target = name.with_default_tag()
    document = make_index([entry.descriptor for entry in entries])
    sources = [parse_reference(entry.ref) for entry in entries]
    client = access.client(
        target,
        push=True,
        mounts_from=sorted({s.path for s in sources if s.domain == target.domain}),
    )
    try:
        for source in sources:
            if source.name != target.name:
                origin = RegistryPlace(access.client(source), source.digest)
                goal = RegistryPlace(client, source.digest)
                ImageCopy(origin, goal, CopyOptions(), report).run()
        RegistryPlace(client, target.tag).put(document, named=True)
    except RegistryRefusedError as error:
        raise push_failure(error.problem, target, client.endpoint.address) from error
    return document.digest


def make_index(entries: Sequence[Descriptor]) -> Document:
    """Return the index of manifests; Docker's list where all of them are Docker's.

    Raises:
        InvalidParameterError: An entry has no platform.
    """
    for entry in entries:
        if entry.platform is None or not entry.platform.os or not entry.platform.architecture:
            raise InvalidParameterError(
                f"manifest {entry.digest} has no platform: annotate it with --os and --arch"
            )
    is_docker = all(entry.media_type == media_types.DOCKER_MANIFEST for entry in entries)
    media_type = media_types.DOCKER_INDEX if is_docker and entries else media_types.OCI_INDEX
    data = encode_document(Index(schema_version=2, media_type=media_type, manifests=list(entries)))
    return Document(media_type, sha256_digest(data), data)


def describe(reference: Reference, document: Document) -> JsonObject:
    """Return the long form of ``manifest inspect``."""
    return {
        "Ref": reference.canonical(),
        "Descriptor": {
            "mediaType": document.media_type,
            "digest": document.digest,
            "size": len(document.data),
        },
        "Manifest": cast("Json", json.loads(document.data)),
    }
