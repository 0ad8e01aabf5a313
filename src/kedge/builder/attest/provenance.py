"""Provenance: what was built from what, by SLSA's definitions. Pure.

The layout of parameters and metadata is BuildKit's, so that what reads its provenance reads this.
``min`` leaves out whatever may be private: values of build arguments and labels, the Dockerfile,
the steps. A build with SOURCE_DATE_EPOCH is told with that time and a name made of its content, so
that two of them say the same.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from kedge.api.buildattests import ProvenanceWish
from kedge.builder.exporters.result import Attestation
from kedge.lib.clock import format_rfc3339
from kedge.lib.jsontypes import Json, JsonObject

BUILD_TYPE_V02: Final = "https://mobyproject.org/buildkit@v1"
BUILD_TYPE_V1: Final = (
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
)
PREDICATE_V02: Final = "https://slsa.dev/provenance/v0.2"
PREDICATE_V1: Final = "https://slsa.dev/provenance/v1"
_PRIVATE: Final = ("build-arg:", "label:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Something that went into an image."""

    uri: str
    digests: Mapping[str, str]
    """Hexadecimal, by algorithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """One build, once it is done."""

    args: Mapping[str, str]
    """The front end's, in BuildKit's names."""
    dockerfile: str
    dockerfile_name: str
    platform: str
    materials: Sequence[Material]
    steps: Sequence[JsonObject]
    source: str
    """URL of a remote context; empty for one that was sent."""
    begun_ns: int
    ended_ns: int
    epoch_ns: int | None
    invocation: str


def provenance(facts: BuildFacts, wish: ProvenanceWish) -> Attestation:
    """Return the provenance of a build."""
    if facts.epoch_ns is not None:
        named = hashlib.sha256(msgspec.json.encode([facts.materials, facts.steps], order="sorted"))
        begun = ended = format_rfc3339(facts.epoch_ns)
        invocation = named.hexdigest()[:25]
    else:
        begun, ended = format_rfc3339(facts.begun_ns), format_rfc3339(facts.ended_ns)
        invocation = facts.invocation
    times = (invocation, begun, ended)
    if wish.version == "v1":
        predicate, kind = _v1(facts, wish, times), PREDICATE_V1
    else:
        predicate, kind = _v02(facts, wish, times), PREDICATE_V02
    return Attestation(
        predicate_type=kind,
        predicate=msgspec.json.encode(predicate),
        file_name="provenance.json",
    )


def _request(facts: BuildFacts, wish: ProvenanceWish) -> JsonObject:
    args: JsonObject = {
        key: value
        for key, value in sorted(facts.args.items())
        if wish.is_whole or not key.startswith(_PRIVATE)
    }
    local: list[Json] = [] if facts.source else [{"name": "context"}, {"name": "dockerfile"}]
    return {"frontend": "dockerfile.v0", "args": args, "locals": local}


def _is_complete(facts: BuildFacts, wish: ProvenanceWish) -> bool:
    return wish.is_whole or not any(key.startswith(_PRIVATE) for key in facts.args)


def _config_source(facts: BuildFacts) -> JsonObject:
    source: JsonObject = {}
    if facts.source:
        source["uri"] = facts.source
        found = next((each for each in facts.materials if each.uri == facts.source), None)
        if found is not None:
            source["digest"] = dict(found.digests)
    return source


def _materials(facts: BuildFacts) -> list[Json]:
    return [{"uri": each.uri, "digest": dict(each.digests)} for each in facts.materials]


def _metadata(facts: BuildFacts) -> JsonObject:
    """Return BuildKit's own part: the Dockerfile, for ``max``."""
    data = base64.b64encode(facts.dockerfile.encode(errors="replace")).decode()
    info: JsonObject = {
        "filename": facts.dockerfile_name,
        "language": "Dockerfile",
        "data": data,
    }
    return {"source": {"infos": [info]}}


def _v1(facts: BuildFacts, wish: ProvenanceWish, times: tuple[str, str, str]) -> JsonObject:
    invocation, begun, ended = times
    internal: JsonObject = {"builderPlatform": facts.platform}
    metadata: JsonObject = {
        "invocationID": invocation,
        "startedOn": begun,
        "finishedOn": ended,
        "buildkit_completeness": {
            "request": _is_complete(facts, wish),
            # Files that were sent have no name anybody else could find them by.
            "resolvedDependencies": bool(facts.source),
        },
        "buildkit_reproducible": wish.is_reproducible,
    }
    if wish.is_whole:
        internal["buildConfig"] = {"steps": [*facts.steps]}
        metadata["buildkit_metadata"] = _metadata(facts)
    source: JsonObject = {**_config_source(facts), "path": facts.dockerfile_name}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE_V1,
            "externalParameters": {"configSource": source, "request": _request(facts, wish)},
            "internalParameters": internal,
            "resolvedDependencies": _materials(facts),
        },
        "runDetails": {"builder": {"id": wish.builder_id}, "metadata": metadata},
    }


def _v02(facts: BuildFacts, wish: ProvenanceWish, times: tuple[str, str, str]) -> JsonObject:
    invocation, begun, ended = times
    metadata: JsonObject = {
        "buildInvocationID": invocation,
        "buildStartedOn": begun,
        "buildFinishedOn": ended,
        "completeness": {
            "parameters": _is_complete(facts, wish),
            "environment": True,
            "materials": bool(facts.source),
        },
        "reproducible": wish.is_reproducible,
    }
    predicate: JsonObject = {
        "builder": {"id": wish.builder_id},
        "buildType": BUILD_TYPE_V02,
        "materials": _materials(facts),
        "invocation": {
            "configSource": {**_config_source(facts), "entryPoint": facts.dockerfile_name},
            "parameters": _request(facts, wish),
            "environment": {"platform": facts.platform},
        },
        "metadata": metadata,
    }
    if wish.is_whole:
        predicate["buildConfig"] = {"steps": [*facts.steps]}
        metadata[f"{BUILD_TYPE_V02}#metadata"] = _metadata(facts)
    return predicate
