"""A bundle of kedge's made one that any OCI runtime understands. Changes documents, mounts nothing.

kedge's own bundles leave to its runtime what others have to be told: the default seccomp profile,
which stands there as an annotation, and the network namespace, which the shim has made already.
"""

import json
import os
from typing import Final, cast

from kedge.errdefs import NotFoundError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci import fields
from kedge.oci.runtime_spec.types import SpecMount
from kedge.runtime.plan import SECCOMP_ANNOTATION
from kedge.runtime.rootfs import PlannedMount, plan_mounts
from kedge.runtime.seccomp.default_profile import default_seccomp

_OURS: Final = ("x-kedge.", "rro", "rnosuid", "rnodev", "rnoexec")
_WHERE: Final = "config.json"


def load_document(bundle: str) -> JsonObject:
    """Return the bundle's ``config.json``.

    Raises:
        NotFoundError: There is none.
    """
    try:
        with open(os.path.join(bundle, _WHERE), "rb") as stream:
            document: Json = json.loads(stream.read())
    except FileNotFoundError as error:
        raise NotFoundError(f"bundle {bundle} has no {_WHERE}") from error
    return fields.read_object(document, _WHERE)


def make_standard(document: JsonObject, *, cgroup_path: str, network: str) -> bool:
    """Change a bundle's document so that it stands for itself.

    Args:
        document: Changed in place.
        cgroup_path: Below each controller's root.
        network: Path of the container's network namespace, which stands already.

    Returns:
        Whether the container has a pid namespace of its own.
    """
    linux = fields.read_object(document.get("linux"), "linux")
    annotations = fields.read_object(document.get("annotations"), "annotations")
    linux["cgroupsPath"] = f"/{cgroup_path.strip('/')}"
    namespaces = [
        fields.read_object(each, "namespaces")
        for each in cast("list[Json]", linux.get("namespaces", []))
    ]
    for namespace in namespaces:
        if namespace.get("type") == "network" and not namespace.get("path"):
            namespace["path"] = network
    linux["namespaces"] = list[Json](namespaces)
    if annotations.pop(SECCOMP_ANNOTATION, None) == "default":
        process = fields.read_object(document.get("process"), "process")
        capabilities = fields.read_object(process.get("capabilities"), "capabilities")
        held = fields.read_list(capabilities, "bounding", _WHERE, fields.read_string_item)
        linux["seccomp"] = default_seccomp(held)
    if not document.get("domainname"):
        # Younger than the runtimes that are about.
        document.pop("domainname", None)
    document["linux"], document["annotations"] = linux, annotations
    # Read by old runtimes, too; nothing of 1.1 is in it.
    document["ociVersion"] = "1.0.2"
    return any(each.get("type") == "pid" and not each.get("path") for each in namespaces)


def take_special_binds(document: JsonObject) -> list[tuple[JsonObject, PlannedMount]]:
    """Return the binds that only kedge can make, planned, and leave plain ones in their place.

    The source of each is for the caller to fill in.
    """
    found: list[tuple[JsonObject, PlannedMount]] = []
    mounts = [
        fields.read_object(each, "mounts") for each in cast("list[Json]", document.get("mounts"))
    ]
    for mount in mounts:
        options = fields.read_list(mount, "options", _WHERE, fields.read_string_item)
        if not any(option.startswith(_OURS) for option in options):
            continue
        planned = plan_mounts(
            [
                SpecMount(
                    str(mount["destination"]), str(mount["type"]), str(mount["source"]), options
                )
            ],
            "/",
        )
        mount["options"] = [each for each in options if not each.startswith(_OURS)]
        found.append((mount, planned[0]))
    document["mounts"] = list[Json](mounts)
    return found
