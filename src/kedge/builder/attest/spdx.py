"""An SBOM as SPDX 2.3 JSON: the image, and every package it holds. Pure."""

import re
from typing import Final

import msgspec

from kedge import __version__
from kedge.builder.attest.packages import Found, Package
from kedge.builder.exporters.result import Attestation
from kedge.lib.jsontypes import Json, JsonObject

PREDICATE_TYPE: Final = "https://spdx.dev/Document"
_NOTHING: Final = "NOASSERTION"
_ID: Final = re.compile(r"[^A-Za-z0-9.-]+")
_LICENSE: Final = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")


def sbom(found: Found, *, name: str, image_id: str, created: str) -> Attestation:
    """Return the bill of materials of an image.

    Args:
        found: Its packages.
        name: What the image is called; its id where it has no name.
        image_id: Makes the document's own name unique.
        created: The time to write.
    """
    image: JsonObject = {
        "name": name,
        "SPDXID": "SPDXRef-Image",
        "versionInfo": image_id,
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
    }
    packages: list[Json] = [image]
    relations: list[Json] = [_relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")]
    for number, package in enumerate(found.packages):
        made = _package(number, package, found.distribution)
        packages.append(made)
        relations.append(_relation("SPDXRef-Image", "CONTAINS", str(made["SPDXID"])))
    document: JsonObject = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:kedge:sbom:{image_id}",
        "creationInfo": {"created": created, "creators": [f"Tool: kedge-{__version__}"]},
        "packages": packages,
        "relationships": relations,
    }
    return Attestation(
        predicate_type=PREDICATE_TYPE,
        predicate=msgspec.json.encode(document),
        file_name="sbom.spdx.json",
    )


def _package(number: int, package: Package, distribution: str) -> JsonObject:
    mark = _ID.sub("-", f"{package.kind}-{package.name}-{package.version}")
    declared = package.license if _LICENSE.fullmatch(package.license) else _NOTHING
    described: JsonObject = {
        "name": package.name,
        "SPDXID": f"SPDXRef-Package-{number}-{mark}",
        "versionInfo": package.version,
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "licenseConcluded": _NOTHING,
        "licenseDeclared": declared,
        "copyrightText": _NOTHING,
        "sourceInfo": f"acquired package info from: /{package.path}",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl(distribution),
            }
        ],
    }
    if package.supplier:
        described["supplier"] = f"Organization: {package.supplier}"
    return described


def _relation(one: str, kind: str, other: str) -> Json:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
