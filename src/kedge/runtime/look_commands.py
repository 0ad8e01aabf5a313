"""The commands of `kedge-runtime` that show containers, pause them, or know things."""

from __future__ import annotations

import json
import os
import sys

from kedge.errdefs import ConflictError
from kedge.lib.clock import format_rfc3339
from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.features import features_document
from kedge.runtime.options import SWITCH, VALUE, Command, Parsed, alias
from kedge.runtime.spec_template import rootless_document, spec_document
from kedge.runtime.state import Container, StateDirectory, load_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject
    from kedge.runtime.journal import Invocation


def _container(call: Invocation, options: Parsed) -> Container:
    return StateDirectory(call.root, options.one_argument("container id")).load()


def _print_json(document: Json) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def _state(call: Invocation, options: Parsed) -> int:
    container = _container(call, options)
    status = container.status()
    _print_json(
        {
            "ociVersion": container.spec.oci_version,
            "id": container.container_id,
            "pid": container.record.pid if status != "stopped" else 0,
            "status": status,
            "bundle": container.record.bundle,
            "rootfs": _rootfs(container),
            "created": format_rfc3339(container.record.created_ns),
            "annotations": dict(container.spec.annotations),
            "owner": container.directory.owner(),
        }
    )
    return 0


def _rootfs(container: Container) -> str:
    root = container.spec.root
    return os.path.join(container.record.bundle, root.path) if root is not None else ""


def _list(call: Invocation, options: Parsed) -> int:
    containers = load_all(call.root)
    if options.switch("quiet"):
        for container in containers:
            sys.stdout.write(container.container_id + "\n")
        return 0
    rows: list[JsonObject] = [
        {
            "id": container.container_id,
            "pid": container.record.pid if container.is_alive() else 0,
            "status": container.status(),
            "bundle": container.record.bundle,
            "created": format_rfc3339(container.record.created_ns),
            "ociVersion": container.spec.oci_version,
            "rootfs": _rootfs(container),
            "annotations": dict(container.spec.annotations),
            "owner": container.directory.owner(),
        }
        for container in containers
    ]
    if options.value("format", "table") == "json":
        _print_json([*rows])
        return 0
    names = ("id", "pid", "status", "bundle", "created", "owner")
    _print_table(
        [[name.upper() for name in names], *([str(row[n]) for n in names] for row in rows)]
    )
    return 0


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("   ".join(cells).rstrip() + "\n")


def _pause(call: Invocation, options: Parsed) -> int:
    container = _container(call, options)
    if container.status() not in ("running", "created"):
        raise ConflictError(
            f"cannot pause container {container.container_id}: it is {container.status()}"
        )
    container.living_cgroup().freeze()
    return 0


def _resume(call: Invocation, options: Parsed) -> int:
    container = _container(call, options)
    if container.status() != "paused":
        raise ConflictError(f"container {container.container_id} is not paused")
    container.living_cgroup().thaw()
    return 0


def _spec(_call: Invocation, options: Parsed) -> int:
    path = os.path.join(options.value("bundle", "."), "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(
                rootless_document() if options.switch("rootless") else spec_document(),
                file,
                indent=2,
            )
            file.write("\n")
    except FileExistsError as error:
        raise ConflictError(f"{path} exists already; remove it first") from error
    return 0


def _features(_call: Invocation, _options: Parsed) -> int:
    _print_json(features_document())
    return 0


_FORMAT_FLAGS: Final = {"format": VALUE, "f": alias("format"), "quiet": SWITCH, "q": alias("quiet")}
COMMANDS: Final = {
    "state": Command(_state, {}),
    "list": Command(_list, _FORMAT_FLAGS),
    "pause": Command(_pause, {}),
    "resume": Command(_resume, {}),
    "spec": Command(_spec, {"bundle": VALUE, "b": alias("bundle"), "rootless": SWITCH}),
    "features": Command(_features, {}),
}
