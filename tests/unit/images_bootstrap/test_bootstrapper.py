"""A whole image from a mirror in memory, with a runner that runs nothing."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.content.store import ContentStore
from kedge.errdefs import DataLossError, SystemFailureError, UnavailableError
from kedge.images.bootstrap import bootstrapper
from kedge.images.bootstrap.bootstrapper import Bootstrapper, BootstrapPlaces
from kedge.images.bootstrap.ports import BootstrapEvent, Step, StepEnd
from kedge.images.store import ImageStore
from kedge.lib.database import Database
from kedge.snapshots.vfs import VfsSnapshotter
from tests.unit.images_bootstrap.mirror import (
    KEY,
    SECURITY_URL,
    URL,
    FixedClock,
    Impatient,
    MemoryFetcher,
    make_deb,
    sha256,
    stanza,
    whole_archive,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners of files need root")

DEB = make_deb({"bin/busybox": b"\x7fELF", "usr/share/doc/busybox-static/changelog": b"old"})
ENVIRON = {"KEDGE_DEBIAN_MIRROR": URL, "KEDGE_DEBIAN_SECURITY_MIRROR": SECURITY_URL}


class FakeRunner:
    def __init__(self, exit_code: int = 0) -> None:
        self.steps: list[Step] = []
        self.exit_code = exit_code

    def run(
        self, step: Step, on_output: Callable[[bytes], None], cancel: threading.Event
    ) -> StepEnd:
        self.steps.append(step)
        root = step.rootfs[0].source
        os.makedirs(f"{root}/proc/stub")
        on_output(b"one\ntwo\nthree\nfour: no such app")
        on_output(b"let\n")
        return StepEnd(self.exit_code, ("/proc/stub",))


class Site:
    """One engine's stores."""

    def __init__(self, root: Path, fetcher: MemoryFetcher, runner: FakeRunner) -> None:
        root.mkdir()
        (root / "scratch").mkdir()
        self.database = Database(str(root / "db"))
        content = ContentStore(str(root / "content"))
        self.snapshots = VfsSnapshotter(str(root / "snapshots"), self.database)
        self.images = ImageStore(self.database, content, self.snapshots)
        self.events: list[BootstrapEvent] = []
        self.cancel = Impatient()
        self.bootstrapper = Bootstrapper(
            self.images,
            self.snapshots,
            fetcher,
            runner,
            places=BootstrapPlaces(cache=str(root / "cache"), scratch=str(root / "scratch")),
            clock=FixedClock(),
            environ=ENVIRON,
        )

    def make(self) -> str:
        return self.bootstrapper.make("busybox", self.events.append, self.cancel).id


@pytest.fixture(autouse=True)
def _trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrapper, "archive_keys", lambda: [KEY.extract_certificate()])


@pytest.fixture
def fetcher() -> MemoryFetcher:
    entry = stanza("busybox-static", "1:1.35.0-4", Depends="missing")
    entry = entry.replace("Size: 1", f"Size: {len(DEB)}").replace("0" * 64, sha256(DEB))
    entry = entry.replace("Depends: missing\n", "")
    documents = whole_archive(main=entry.replace("amd64\n", "all\n", 1))
    documents[f"{URL}/pool/busybox-static_1:1.35.0-4_amd64.deb"] = DEB
    return MemoryFetcher(documents)


def test_made(fetcher: MemoryFetcher, tmp_path: Path) -> None:
    runner = FakeRunner()
    site = Site(tmp_path / "a", fetcher, runner)
    image = site.images.get(site.make())
    assert image.repo_tags == ["busybox:latest"]
    assert image.config.created == "2026-07-11T10:16:37Z"
    assert image.config.config.cmd == ["sh"]
    assert image.config.history[0].created_by.startswith("kedge image bootstrap busybox")
    tree = site.snapshots.open_tree(image.chain_id)
    assert tree.lookup("bin/busybox") is not None
    assert tree.lookup("usr/share/doc/busybox-static/changelog") is None
    assert tree.lookup("proc/stub") is None
    assert runner.steps[0].args == ("/bin/busybox", "--install", "/bin")
    assert not [info.name for info in site.snapshots.walk() if info.name != image.chain_id]


def test_progress(fetcher: MemoryFetcher, tmp_path: Path) -> None:
    site = Site(tmp_path / "a", fetcher, FakeRunner())
    site.make()
    size = site.events[-1].status.split()[-1]
    assert [event.status for event in site.events] == [
        f"Fetching package index of bookworm from {URL}",
        "Downloading 1 package",
        "Downloading 1 package",
        "Unpacking",
        "Configuring",
        "Committing",
        f"Status: Made busybox:latest from Debian 12.9 (1 package, {size}",
    ]
    assert site.events[2].current == site.events[2].total == len(DEB)


def test_same_packages_same_image(fetcher: MemoryFetcher, tmp_path: Path) -> None:
    first = Site(tmp_path / "a", fetcher, FakeRunner()).make()
    second = Site(tmp_path / "b", fetcher, FakeRunner()).make()
    assert first == second


def test_made_again_in_one_place(fetcher: MemoryFetcher, tmp_path: Path) -> None:
    site = Site(tmp_path / "a", fetcher, FakeRunner())
    assert site.make() == site.make()
    assert len(site.images.list_images()) == 1


def test_a_failing_script_is_told_and_leaves_nothing(
    fetcher: MemoryFetcher, tmp_path: Path
) -> None:
    site = Site(tmp_path / "a", fetcher, FakeRunner(exit_code=7))
    with pytest.raises(
        SystemFailureError,
        match="busybox of the recipe failed with status 7: two; three; four: no such applet",
    ):
        site.make()
    assert site.snapshots.walk() == []
    assert site.images.list_images() == []
    assert not list((tmp_path / "a/scratch").iterdir())


def test_a_changed_package_is_refused(fetcher: MemoryFetcher, tmp_path: Path) -> None:
    fetcher.documents[f"{URL}/pool/busybox-static_1:1.35.0-4_amd64.deb"] = DEB[:-1] + b"?"
    site = Site(tmp_path / "a", fetcher, FakeRunner())
    with pytest.raises(DataLossError, match="hash mismatch of busybox-static"):
        site.make()
    assert site.snapshots.walk() == []


def test_cancelled(fetcher: MemoryFetcher, tmp_path: Path) -> None:
    site = Site(tmp_path / "a", fetcher, FakeRunner())
    site.cancel.set()
    with pytest.raises(UnavailableError, match="bootstrap cancelled"):
        site.make()
    assert site.images.list_images() == []
