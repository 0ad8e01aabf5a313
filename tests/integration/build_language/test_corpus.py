"""A corpus of small Dockerfiles with what must come out: configuration, files, failures, output.

The cases stand in ``corpus/*.yaml``, one family a file. All but those of RUN are built without a
container, by one builder.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
import zstandard

from kedge.builder.events import Warned
from kedge.errdefs import InvalidParameterError, KedgeError
from kedge.oci.image_spec import encode_document
from tests.builders import Engine as Builder
from tests.builders import open_engine
from tests.engine import Engine

if TYPE_CHECKING:
    from kedge.lib.jsontypes import JsonObject

pytestmark = pytest.mark.integration

RUN = "run"
FOLDER = Path(__file__).parent / "corpus"

File = str | list[int | str]
"""A text, ``-> target`` of a link, or mode (as octal digits), uid, gid and text."""

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "cut": lambda data: gzip.compress(data)[:-20],
}
BASE: dict[str, File] = {
    "etc/passwd": "root:x:0:0::/:/bin/sh\nweb:x:100:101::/:/bin/sh\n",
    "etc/group": "root:x:0:\nweb:x:101:\n",
    "to-etc": "-> etc",
    "out": "-> /../../etc",
    "loop": "-> loop",
}
_PROGRESS = ("Step ", " ---> ", "Removed ", "Successfully ", "RUN steps trust", "[Warning]")


class Case(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One Dockerfile and what it must come to; what is not given is not looked at."""

    name: str
    file: str = ""
    """The Dockerfile behind what its family begins with."""
    full: str = ""
    """The Dockerfile, whatever its family begins with."""
    directive: str = ""
    context: dict[str, File] = msgspec.field(name="with", default_factory=dict)
    packed: dict[str, tuple[str, dict[str, File]]] = {}
    ignore: str | None = None
    own_ignore: str | None = None
    args: dict[str, str] = {}
    target: str = ""
    allow: list[str] = []
    more_labels: dict[str, str] = {}

    labels: dict[str, str] | None = None
    env: dict[str, str] = {}
    config: dict[str, object] = {}
    absent: list[str] = []
    files: dict[str, str] | None = None
    """Everything in the image."""
    tree: dict[str, str] = {}
    """Some of it."""
    names: list[str] | None = None
    untouched: list[str] = []
    layers: int | None = None
    history: list[str] | None = None
    created: str = ""
    author: str = ""
    architecture: str = ""
    said: list[str] | None = None
    warn: list[str] | None = None
    error: str = ""


class Family(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    cases: list[Case]
    common: str = ""
    context: dict[str, File] = msgspec.field(name="with", default_factory=dict)
    packed: dict[str, tuple[str, dict[str, File]]] = {}


def load(name: str) -> list[Case]:
    family = msgspec.yaml.decode((FOLDER / f"{name}.yaml").read_bytes(), type=Family)
    for case in family.cases:
        case.full = case.full or f"{family.common}{case.file}"
        case.full = case.full.replace("@70000@", "x" * 70000)
        if case.directive:
            case.full = f"{case.directive}\n{case.full}"
        case.context = case.context or family.context
        case.packed = case.packed or family.packed
    return family.cases


FAMILIES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != RUN)


def test_there_are_enough() -> None:
    names = [(family, case.name) for family in (*FAMILIES, RUN) for case in load(family)]
    assert len(names) >= 150
    assert len(set(names)) == len(names)


def check_all(cases: list[Case], check: Callable[[Case], None]) -> None:
    """Check every case of a family; one test for all, as there are hundreds."""
    wrong: list[str] = []
    for case in cases:
        try:
            check(case)
        except (AssertionError, KedgeError) as error:
            wrong.append(f"{case.name}: {error}")
    assert not wrong, "\n\n".join(wrong)


def member(name: str, file: File) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    if isinstance(file, str) and file.startswith("-> "):
        info.type, info.linkname = tarfile.SYMTYPE, file.removeprefix("-> ")
        return info, b""
    if isinstance(file, list):
        mode, info.uid, info.gid, file = file if len(file) == 4 else (file[0], 0, 0, file[1])  # type: ignore[assignment]
        info.mode = int(str(mode), 8)
    data = str(file).encode()
    info.size = len(data)
    return info, data


def tar_of(files: dict[str, File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, file in files.items():
            info, data = member(name, file)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def fill(folder: Path, case: Case) -> None:
    for name, file in case.context.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        info, data = member(name, file)
        if info.issym():
            path.symlink_to(info.linkname)
        else:
            path.write_bytes(data)
            path.chmod(info.mode)
    for name, (compression, members) in case.packed.items():
        (folder / name).write_bytes(PACKERS[compression](tar_of(members)))
    if case.ignore is not None:
        (folder / ".dockerignore").write_text(case.ignore)
    if case.own_ignore is not None:
        (folder / "Dockerfile.dockerignore").write_text(case.own_ignore)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    with open_engine(tmp_path_factory.mktemp("corpus")) as builder:
        fill(builder.context, Case(name="base", context=BASE))
        builder.build("FROM scratch\nCOPY etc /etc\nCOPY . /\n", tags=("base",))
        yield builder


def short(text: str) -> str:
    kind, _, rest = text.partition(" -> ")
    if rest:
        return f"-> {rest}"
    if kind.startswith("directory "):
        return f"d{kind.removeprefix('directory ')}"
    return text.removeprefix("regular file ")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_comes_out(builder: Builder, family: str) -> None:
    check_all(load(family), lambda case: check_case(builder, case))


def check_case(builder: Builder, case: Case) -> None:
    shutil.rmtree(builder.context)
    builder.context.mkdir()
    umask = os.umask(0o022)
    try:
        fill(builder.context, case)
    finally:
        os.umask(umask)
    options = {"build_args": case.args, "target": case.target, "labels": case.more_labels}
    if case.error:
        with pytest.raises(KedgeError) as caught:
            builder.build(case.full, **options)
        assert case.error in str(caught.value)
        assert "\n" not in str(caught.value)
    else:
        result = builder.build(case.full, **options)
        check_config(case, builder, result.image_id)
        check_files(case, {name: short(text) for name, text in builder.listing(result).items()})
    warned = [event.text for event in builder.events if isinstance(event, Warned)]
    for text in case.warn or ():
        assert any(line.startswith(text) for line in warned), warned
    if case.warn == []:
        assert warned == []


def check_config(case: Case, builder: Builder, image_id: str) -> None:
    image = builder.images.get(image_id).config
    document = msgspec.json.decode(encode_document(image))
    config = document["config"]
    assert {name: config.get(name) for name in case.config} == case.config
    assert [name for name in case.absent if config.get(name)] == []
    if case.labels is not None:
        assert config.get("Labels") == case.labels
    env = dict(item.split("=", 1) for item in config["Env"])
    assert {name: env.get(name) for name in case.env} == case.env
    if case.layers is not None:
        assert len(image.rootfs.diff_ids) == case.layers
    if case.history is not None:
        assert [entry.created_by for entry in image.history] == case.history
    for name in ("created", "author", "architecture"):
        wanted = getattr(case, name)
        assert not wanted or document[name] == wanted


def check_files(case: Case, found: dict[str, str]) -> None:
    if case.files is not None:
        assert found == case.files
    assert {name: found.get(name) for name in case.tree} == case.tree
    assert [name for name in case.untouched if name in found] == []
    if case.names is not None:
        copied = {name.removeprefix("x/") for name in found} if case.ignore else set(found)
        own = {"x", "Dockerfile", ".dockerignore", "Dockerfile.dockerignore"}
        assert copied - (own if case.ignore else set()) == set(case.names)


def test_what_steps_print(shared_engine: Engine) -> None:
    check_all(load(RUN), lambda case: check_output(shared_engine, case))


def check_output(shared_engine: Engine, case: Case) -> None:
    text = case.full if "FROM" in case.full else f"FROM busybox\n{case.full}"
    body = tar_of({"Dockerfile": text, **case.context})
    errors = ""
    messages: list[JsonObject] = []
    with contextlib.closing(shared_engine.client()) as client:
        try:
            response = client.request(
                "POST",
                "/build",
                {"nocache": "1", "allow": case.allow},
                body=body,
                content_type="application/x-tar",
            )
            messages = list(response.messages())
        except InvalidParameterError as error:
            errors = str(error)
    errors += "".join(str(message.get("error", "")) for message in messages)
    assert case.error in errors
    assert bool(errors) == bool(case.error)
    said = "".join(str(message.get("stream", "")) for message in messages).splitlines()
    printed = [line for line in said if line and not line.startswith(_PROGRESS)]
    assert case.said is None or printed == case.said
