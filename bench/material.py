"""What the contenders work on: a busybox root, a build context, an image of 100 MB."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from bench.processes import MeasureError

_EXAMPLE: Final = Path(__file__).parent.parent / "examples" / "flask-app"
_LAYERS: Final = 4
_LAYER_SIZE: Final = 25_000_000

DOCKERFILE: Final = """\
ARG BASE=busybox
FROM ${BASE}
WORKDIR /app
COPY requirements.txt .
RUN sort requirements.txt > installed
COPY app.py .
EXPOSE 5000
CMD ["cat", "app.py"]
"""


def busybox_files() -> tuple[dict[str, bytes], dict[str, str]]:
    """Return files and symbolic links of a root file system with Debian's static busybox."""
    path = shutil.which("busybox")
    if path is None:
        raise MeasureError("busybox-static is not installed")
    applets = subprocess.check_output([path, "--list"], text=True).split()
    files = {
        "bin/busybox": Path(path).read_bytes(),
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": b"root:x:0:\n",
    }
    return files, {f"bin/{name}": "busybox" for name in applets if name != "busybox"}


def busybox_root() -> bytes:
    """Return the root file system as a tar archive, for ``docker import``."""
    return make_tar(*busybox_files())


def busybox_context() -> bytes:
    """Return a build context that makes the same root file system."""
    files, links = busybox_files()
    dockerfile = b'FROM scratch\nCOPY bin /bin\nCOPY etc /etc\nENV PATH=/bin\nCMD ["sh"]\n'
    return make_tar({**files, "Dockerfile": dockerfile}, links)


def make_tar(files: dict[str, bytes], links: dict[str, str]) -> bytes:
    """Return a tar archive with executable files and symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
        for name, goal in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, goal
            archive.addfile(member)
    return buffer.getvalue()


def write_build_context(directory: Path) -> None:
    """Put the example's files and a Dockerfile for a busybox base into ``directory``."""
    directory.mkdir()
    (directory / "Dockerfile").write_text(DOCKERFILE)
    for name in ("app.py", "requirements.txt"):
        shutil.copy(_EXAMPLE / name, directory / name)


def write_big_image(
    directory: Path, *, layers: int = _LAYERS, layer_size: int = _LAYER_SIZE, variants: int = 1
) -> None:
    """Make an OCI layout, of 100 MB in four layers, filled with files of this host's /usr.

    Args:
        directory: The layout.
        layers: How many.
        layer_size: Bytes of each.
        variants: How many images, named ``1`` and so on, that share no layer: an empty file in
            front of each layer makes the difference.
    """
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    packed_layers: list[list[dict[str, object]]] = [[] for _ in range(variants)]
    diff_ids: list[list[str]] = [[] for _ in range(variants)]
    for number, data in enumerate(_layers(layers, layer_size)):
        packed = gzip.compress(data, compresslevel=6, mtime=0)
        for variant in range(variants):
            mark = tarfile.TarInfo(f"variant-{variant}-{number}").tobuf()
            diff_ids[variant].append(f"sha256:{hashlib.sha256(mark + data).hexdigest()}")
            blob = gzip.compress(mark, mtime=0) + packed
            packed_layers[variant].append(put(blob, "layer.v1.tar+gzip"))
    manifests: list[dict[str, object]] = []
    for variant in range(variants):
        config = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids[variant]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": put(json.dumps(config).encode(), "config.v1+json"),
            "layers": packed_layers[variant],
        }
        name = {"org.opencontainers.image.ref.name": str(variant + 1)}
        manifests.append(
            {**put(json.dumps(manifest).encode(), "manifest.v1+json"), "annotations": name}
        )
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _layers(count: int, size: int) -> list[bytes]:
    made: list[bytes] = []
    buffer = io.BytesIO()
    archive = tarfile.open(fileobj=buffer, mode="w")  # noqa: SIM115 - several in turn
    for folder, names, files in os.walk("/usr"):
        names.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            if os.path.islink(path) or os.path.getsize(path) > size // 5:
                continue
            archive.add(path, path[1:], recursive=False)
            if buffer.tell() >= size:
                archive.close()
                made.append(buffer.getvalue())
                if len(made) == count:
                    return made
                buffer = io.BytesIO()
                archive = tarfile.open(fileobj=buffer, mode="w")  # noqa: SIM115
    raise MeasureError(f"/usr holds less than {count * size // 1_000_000} MB")
