"""The first file system of ``make test-vm``: what is loaded in which order, and the archive."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.vm.kernel import in_order, initramfs, load_kernel

_DEPENDENCIES = """\
kernel/virtio/virtio_pci.ko: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko
kernel/block/virtio_blk.ko.xz: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko
kernel/virtio/virtio.ko: kernel/virtio/virtio_ring.ko
kernel/virtio/virtio_ring.ko:
"""


def test_what_a_module_needs_is_loaded_before_it_and_once() -> None:
    order = in_order(_DEPENDENCIES, ("virtio_pci", "virtio_blk", "built_in"))
    names = [Path(path).name for path in order]
    assert names == ["virtio_ring.ko", "virtio.ko", "virtio_pci.ko", "virtio_blk.ko.xz"]


def test_the_archive_is_one_that_cpio_reads(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    modules = tmp_path / "lib/modules/6.1"
    (modules / "a").mkdir(parents=True)
    (tmp_path / "release").write_text("6.1\n")
    (modules / "modules.dep").write_text("a/overlay.ko:\n")
    (modules / "a/overlay.ko").write_bytes(b"elf")
    archive = initramfs(load_kernel(tmp_path), Path(busybox), "/python /guest.py", '{"words": []}')
    where = tmp_path / "unpacked"
    where.mkdir()
    subprocess.run(
        [busybox, "cpio", "-i"], input=gzip.decompress(archive), cwd=where, check=True,
        capture_output=True,
    )  # fmt: skip
    assert "exec $b switch_root /new /python /guest.py\n" in (where / "init").read_text()
    assert (where / "init").stat().st_mode & 0o111
    assert (where / "modules/order").read_text() == "overlay.ko"
    assert (where / "modules/overlay.ko").read_bytes() == b"elf"
    assert (where / "bin/busybox").read_bytes() == Path(busybox).read_bytes()
    assert (where / "proc").is_dir()
