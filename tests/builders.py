"""A builder on roots of its own, whose RUN changes the layer's folder and starts no container.

For tests of what a build makes; `tests.engine` has a whole engine.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from kedge.builder.builder import Builder
from kedge.builder.events import CacheHit, Event
from kedge.builder.files.directory import DigestMemo
from kedge.builder.files.layers import LayersTree
from kedge.builder.request import BuildRequest, BuildResult
from kedge.builder.steps import BaseImage, StepResult, StepSpec
from kedge.content.store import ContentStore
from kedge.images.image import Image
from kedge.images.store import ImageStore
from kedge.lib.database import Database
from kedge.oci.mounts import Mount
from kedge.oci.platforms import Platform
from kedge.snapshots.overlay import OverlaySnapshotter
from kedge.snapshots.snapshotter import Snapshotter


def writable(mount: Mount) -> Path:
    """Return the folder that takes what is written to a root file system."""
    for option in mount.options:
        if option.startswith("upperdir="):
            return Path(option.removeprefix("upperdir="))
    return Path(mount.source)


@dataclass
class FakeRunner:
    """Understands ``write PATH TEXT``, ``fail N TEXT``, ``stub PATH`` and ``cancel``."""

    specs: list[StepSpec] = field(default_factory=list[StepSpec])

    def run(
        self, spec: StepSpec, on_output: Callable[[str, bytes], None], cancel: threading.Event
    ) -> StepResult:
        self.specs.append(spec)
        root = writable(spec.rootfs[0])
        variables = dict(item.split("=", 1) for item in spec.env)
        verb, *words = Template(spec.args[-1]).safe_substitute(variables).split()
        if verb == "fail":
            on_output("stderr", " ".join(words[1:]).encode() + b"\n")
            return StepResult(exit_code=int(words[0]))
        if verb == "write":
            target = root / words[0].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(words[1])
        if verb == "cancel":
            cancel.set()
        stubs: tuple[str, ...] = ()
        if verb == "stub":
            stubs = ("/etc/hosts", "/proc")
            (root / "etc").mkdir(exist_ok=True)
            (root / "etc/hosts").touch()
            (root / "proc").mkdir()
        on_output("stdout", b"ran\xc3")
        on_output("stdout", b"\xa9\n")
        return StepResult(exit_code=0, created_mountpoints=stubs)


@dataclass
class FakeResolver:
    """Finds the images of the store."""

    images: ImageStore
    pulls: list[bool] = field(default_factory=list[bool])

    def resolve(
        self,
        reference: str,
        platform: Platform,
        *,
        pull: bool,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> BaseImage:
        assert platform.os == "linux"
        assert not cancel.is_set()
        assert callable(on_event)
        self.pulls.append(pull)
        return BaseImage.of(self.images.resolve(reference))


@dataclass
class Engine:
    root: Path
    context: Path
    builder: Builder
    images: ImageStore
    snapshots: Snapshotter
    runner: FakeRunner
    resolver: FakeResolver
    events: list[Event] = field(default_factory=list[Event])

    def build(self, dockerfile: str, **options: object) -> BuildResult:
        self.events.clear()
        (self.context / "Dockerfile").write_text(dockerfile)
        cancel = threading.Event()
        with self.builder.open_directory(str(self.context)) as context:
            request = BuildRequest(context=context, **options)  # type: ignore[arg-type]
            return self.builder.build(request, self.events.append, cancel)

    def image(self, result: BuildResult) -> Image:
        return self.images.get(result.image_id)

    def files(self, result: BuildResult) -> LayersTree:
        chain_id = self.image(result).chain_id
        stack = self.snapshots.open_tree(chain_id) if chain_id else None
        return LayersTree(stack, DigestMemo())

    def listing(self, result: BuildResult) -> dict[str, str]:
        """Return mode, owner and content of everything in an image."""
        found: dict[str, str] = {}

        def visit(tree: LayersTree, path: str) -> None:
            for name in tree.names(path):
                child = f"{path}/{name}" if path else name
                entry = tree.entry(child)
                assert entry is not None
                text = f"{entry.kind.value} {entry.mode:o} {entry.uid}:{entry.gid}"
                if entry.link_target:
                    text += f" -> {entry.link_target}"
                elif entry.size:
                    with tree.open(child) as stream:
                        text += f" {stream.read().decode(errors='replace')}"
                found[child] = text
                visit(tree, child)

        with self.files(result) as tree:
            visit(tree, "")
        return found

    def hits(self) -> int:
        return sum(isinstance(event, CacheHit) for event in self.events)


@contextmanager
def open_engine(
    root: Path, kind: Callable[[str, Database], Snapshotter] = OverlaySnapshotter
) -> Generator[Engine]:
    """Yield a builder below ``root``; in the end nothing half made may be left."""
    for name in ("snapshots", "scratch", "context"):
        (root / name).mkdir()
    database = Database(str(root / "metadata.db"))
    content = ContentStore(str(root / "content"))
    snapshots = kind(str(root / "snapshots"), database)
    images = ImageStore(database, content, snapshots)
    runner = FakeRunner()
    resolver = FakeResolver(images)
    builder = Builder(
        database, content, images, snapshots, runner, resolver, scratch=str(root / "scratch")
    )
    yield Engine(root, root / "context", builder, images, snapshots, runner, resolver)
    assert not [info for info in snapshots.walk() if info.kind == "active"]
    assert list((root / "scratch").iterdir()) == []
    database.close()
