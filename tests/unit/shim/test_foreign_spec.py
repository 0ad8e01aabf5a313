"""What becomes of a bundle that another runtime is to read."""

import json
from pathlib import Path

import pytest

from kedge.errdefs import NotFoundError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.shim.foreign_spec import load_document, make_standard, take_special_binds


def document(**linux: Json) -> JsonObject:
    return {
        "ociVersion": "1.2.0",
        "domainname": "",
        "process": {"capabilities": {"bounding": ["CAP_CHOWN"]}},
        "annotations": {"org.kedge.seccomp": "default", "mine": "kept"},
        "linux": {"cgroupsPath": "kedge/one", **linux},
    }


def standard(found: JsonObject) -> bool:
    return make_standard(found, cgroup_path="kedge/one", network="/proc/1/fd/9")


def test_what_others_are_not_told_is_in_the_document() -> None:
    found = document(namespaces=[{"type": "network"}, {"type": "pid"}])
    assert standard(found)
    linux = found["linux"]
    assert isinstance(linux, dict)
    assert linux["cgroupsPath"] == "/kedge/one"
    assert linux["namespaces"] == [{"type": "network", "path": "/proc/1/fd/9"}, {"type": "pid"}]
    assert isinstance(linux["seccomp"], dict)
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert found["annotations"] == {"mine": "kept"}
    assert "domainname" not in found


def test_namespaces_of_others_stay() -> None:
    joined: list[Json] = [
        {"type": "network", "path": "/proc/7/ns/net"}, {"type": "pid", "path": "/proc/7/ns/pid"}
    ]  # fmt: skip
    found = document(namespaces=list(joined))
    assert not standard(found)
    assert isinstance(found["linux"], dict)
    assert found["linux"]["namespaces"] == joined


def test_a_profile_of_its_own_is_left_alone() -> None:
    found = document(namespaces=[], seccomp={"defaultAction": "SCMP_ACT_LOG"})
    found["annotations"] = {}
    standard(found)
    assert isinstance(found["linux"], dict)
    assert found["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_LOG"}


def test_binds_only_kedge_can_make_are_taken_out() -> None:
    plain: JsonObject = {
        "destination": "/a", "type": "bind", "source": "/s", "options": ["rbind", "ro"]
    }  # fmt: skip
    special: JsonObject = {
        "destination": "/b", "type": "bind", "source": "/s",
        "options": ["rbind", "ro", "rro", "x-kedge.subpath=sub"],
    }  # fmt: skip
    found: JsonObject = {"mounts": [plain, special]}
    taken = take_special_binds(found)
    assert [(entry["destination"], plan.options.subpath) for entry, plan in taken] == [
        ("/b", "sub")
    ]
    taken[0][0]["source"] = "/made"
    mounts = found["mounts"]
    assert isinstance(mounts, list)
    assert mounts[0] == plain
    assert mounts[1] == {
        "destination": "/b", "type": "bind", "source": "/made", "options": ["rbind", "ro"]
    }  # fmt: skip


def test_a_bundle_without_a_document(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has no config\.json"):
        load_document(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"a": 1}))
    assert load_document(str(tmp_path)) == {"a": 1}
