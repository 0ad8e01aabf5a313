"""RUN over a real overlay mount: what the kernel leaves in a layer, and what becomes of it."""

import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kedge.builder.builder import Builder
from kedge.builder.events import Event
from kedge.builder.files.directory import DigestMemo
from kedge.builder.files.layers import LayersTree
from kedge.builder.request import BuildRequest
from kedge.builder.steps import BaseImage, StepResult, StepSpec
from kedge.content.store import ContentStore
from kedge.errdefs import NotFoundError
from kedge.images.image import Image
from kedge.images.store import ImageStore
from kedge.lib.database import Database
from kedge.oci.platforms import Platform
from kedge.snapshots.overlay import OverlaySnapshotter

pytestmark = pytest.mark.integration


class MountingRunner:
    """Runs the shell text of a RUN with the host's shell in the mounted root file system."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.stubs: tuple[str, ...] = ()

    def run(
        self, spec: StepSpec, on_output: Callable[[str, bytes], None], cancel: threading.Event
    ) -> StepResult:
        assert not cancel.is_set()
        (mount,) = spec.rootfs
        options = ",".join(mount.options)
        script = (
            f"mount -t {mount.type} -o {options} {mount.source} {self.target} && cd {self.target}"
            f" && {spec.args[-1]}"
        )
        if mount.type == "bind":
            script = script.replace("-t bind ", "")
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script],
            capture_output=True,
            check=False,
        )
        on_output("stdout", done.stdout + done.stderr)
        return StepResult(exit_code=done.returncode, created_mountpoints=self.stubs)


class NoImages:
    def resolve(
        self,
        reference: str,
        platform: Platform,
        *,
        pull: bool,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> BaseImage:
        raise NotFoundError(f"No such image: {reference} {platform} {pull} {on_event} {cancel}")


class Workbench:
    def __init__(self, root: Path) -> None:
        for name in ("scratch", "root", "context"):
            (root / name).mkdir()
        self.database = Database(str(root / "metadata.db"))
        self.snapshots = OverlaySnapshotter(str(root / "snapshots"), self.database)
        content = ContentStore(str(root / "content"))

        self.images = ImageStore(self.database, content, self.snapshots)
        self.runner = MountingRunner(root / "root")
        self.builder = Builder(
            self.database,
            content,
            self.images,
            self.snapshots,
            self.runner,
            NoImages(),
            scratch=str(root / "scratch"),
        )
        self.context = root / "context"

    def build(self, text: str) -> Image:
        events: list[Event] = []
        with self.builder.open_directory(str(self.context)) as context:
            request = BuildRequest(context=context, dockerfile_text=text)
            result = self.builder.build(request, events.append, threading.Event())
        return self.images.get(result.image_id)

    def names(self, image: Image) -> list[str]:
        found: list[str] = []

        def visit(tree: LayersTree, path: str) -> None:
            for name in tree.names(path):
                child = f"{path}/{name}" if path else name
                found.append(child)
                visit(tree, child)

        with LayersTree(self.snapshots.open_tree(image.chain_id), DigestMemo()) as tree:
            visit(tree, "")
        return found

    def members(self, image: Image, layer: int) -> list[str]:
        blob = image.layers[layer].blob
        assert blob is not None
        with (
            self.images.content.open(blob.digest) as stream,
            tarfile.open(fileobj=stream, mode="r:gz") as archive,
        ):
            return archive.getnames()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path)
    yield bench
    bench.database.close()


def test_what_a_run_removes_is_gone_for_later_copies(bench: Workbench) -> None:
    for name in ("keep", "drop", "old/inside"):
        (bench.context / name).parent.mkdir(exist_ok=True)
        (bench.context / name).write_text(name)
    image = bench.build(
        "FROM scratch\nCOPY . /d\nRUN rm d/drop && rm -r d/old && mkdir d/old && touch d/old/new\n"
        "COPY keep /d/drop\nCOPY keep /d/old/\n"
    )
    replaced = ["d/old", "d/old/.wh..wh..opq", "d/old/new"]
    assert bench.members(image, 1) == ["d", "d/.wh.drop", *replaced]
    assert bench.members(image, 2) == ["d", "d/drop"]
    assert bench.names(image) == ["d", "d/drop", "d/keep", "d/old", "d/old/keep", "d/old/new"]
    rebuilt = bench.build("FROM scratch\nCOPY . /d\nRUN rm d/drop d/old/inside\n")
    copied = bench.build(
        "FROM scratch AS a\nCOPY . /d\nRUN rm d/drop d/old/inside\n"
        "FROM scratch\nCOPY --from=a / /\n"
    )
    assert bench.names(copied) == bench.names(rebuilt) == ["d", "d/keep", "d/old"]


def test_a_run_that_changes_nothing_makes_an_empty_layer(bench: Workbench) -> None:
    (bench.context / "f").write_text("x")
    bench.runner.stubs = ("/etc/hosts", "/etc/resolv.conf", "/proc")
    image = bench.build(
        "FROM scratch\nCOPY f /etc/\nRUN touch etc/hosts etc/resolv.conf && mkdir proc\nRUN true\n"
    )
    assert bench.members(image, 1) == []
    assert image.layers[1].diff_id == image.layers[2].diff_id
    assert bench.names(image) == ["etc", "etc/f"]


def test_a_stub_that_was_written_to_stays(bench: Workbench) -> None:
    bench.runner.stubs = ("/etc/hosts",)
    image = bench.build("FROM scratch\nRUN mkdir etc && echo 127.0.0.1 me > etc/hosts\n")
    assert bench.names(image) == ["etc", "etc/hosts"]


def test_a_copy_through_links_of_the_image_stays_inside(bench: Workbench) -> None:
    (bench.context / "f").write_text("x")
    outside = bench.context.parent / "outside"
    outside.mkdir()
    image = bench.build(
        f"FROM scratch\nRUN ln -s {outside} abs && ln -s ../../../.. up && mkdir real && "
        f"ln -s real dir\nCOPY f /abs/\nCOPY f /up/\nCOPY f /dir/\n"
    )
    assert list(outside.iterdir()) == []
    names = bench.names(image)
    assert "real/f" in names
    assert "f" in names
    assert f"{str(outside).lstrip('/')}/f" in names


def test_a_step_waits_for_no_disk(bench: Workbench) -> None:
    image = bench.build(
        "FROM scratch\nCOPY <<X /first\nX\n"
        f"RUN grep -c ' {bench.runner.target} overlay .*volatile' /proc/self/mounts > counted\n"
    )
    with (
        LayersTree(bench.snapshots.open_tree(image.chain_id), DigestMemo()) as tree,
        tree.open("counted") as counted,
    ):
        assert counted.read() == b"1\n"
    usage = bench.snapshots.usage(image.chain_id)
    assert (usage.size_bytes, usage.inodes) == (2, 1)
