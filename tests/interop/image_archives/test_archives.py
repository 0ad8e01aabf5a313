"""save, load, commit and import with the docker CLI and skopeo."""

import http.server
import json
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.interop
SKOPEO = shutil.which("skopeo")


def skopeo(*words: str) -> str:
    assert SKOPEO is not None
    done = subprocess.run(
        [SKOPEO, "--insecure-policy", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_commit_keeps_changes_and_leaves_out_what_mounts_made(engine: Engine) -> None:
    engine.docker("run", "--name", "box", "busybox", "sh", "-c", "echo new > /new; rm /etc/group")
    made = engine.docker(
        "commit", "-a", "me", "-m", "why", "-c", 'CMD ["cat", "/new"]', "-c", "ENV A=b C=d",
        "-c", "EXPOSE 80", "-c", "LABEL x=y", "box", "mine:1",
    ).stdout.strip()  # fmt: skip
    assert engine.docker("run", "--rm", "mine:1").stdout == "new\n"
    (found,) = json.loads(engine.docker("inspect", "mine:1").stdout)
    assert (found["Id"], found["Author"], found["Comment"]) == (made, "me", "why")
    assert found["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert found["Config"]["Labels"] == {"x": "y"}
    assert {"PATH=/bin", "A=b", "C=d"} <= set(found["Config"]["Env"])
    assert found["Parent"].startswith("sha256:")
    refused = engine.docker("commit", "-c", "RUN x", "box", check=False)
    assert "RUN is not a valid change command" in refused.stderr
    export = engine.root / "mine.tar"
    engine.docker("save", "-o", str(export), "mine:1")
    with tarfile.open(export) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        top = archive.extractfile(json.load(manifest)[0]["Layers"][-1])
        with tarfile.open(fileobj=top) as layer:
            names = layer.getnames()
    assert {"new", "etc/.wh.group"} <= set(names)
    assert not {"etc/hosts", "etc/resolv.conf", "etc/hostname"} & set(names)


@pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed")
def test_archives_go_through_skopeo_and_back(engine: Engine, tmp_path: Path) -> None:
    saved = tmp_path / "saved.tar"
    before = engine.docker("images", "-q", "--no-trunc", "busybox").stdout.strip()
    engine.docker("tag", "busybox", "other:2")
    engine.docker("save", "-o", str(saved), "busybox", "other:2")
    skopeo("copy", f"docker-archive:{saved}:busybox:latest", f"docker-archive:{tmp_path}/d.tar:d:1")
    skopeo("copy", f"oci-archive:{saved}:latest", f"oci-archive:{tmp_path}/o.tar:oci:1")
    engine.docker("rmi", "busybox", "other:2")
    assert engine.docker("images", "-aq").stdout == ""
    loaded = engine.docker("load", "-i", str(saved)).stdout.splitlines()
    assert loaded == ["Loaded image: busybox:latest", "Loaded image: other:2"]
    assert engine.docker("load", "-i", f"{tmp_path}/d.tar").stdout == "Loaded image: d:1\n"
    assert engine.docker("load", "-qi", f"{tmp_path}/o.tar").stdout == "Loaded image: oci:1\n"
    ids = engine.docker("images", "-q", "--no-trunc", "d").stdout.strip()
    assert ids == before
    assert engine.docker("run", "--rm", "oci:1", "echo", "hi").stdout == "hi\n"


def test_a_tar_is_imported_from_the_client_and_from_a_url(engine: Engine, tmp_path: Path) -> None:
    engine.docker("create", "--name", "box", "busybox")
    engine.docker("export", "-o", str(tmp_path / "root.tar"), "box")
    engine.docker(
        "import", "-c", "CMD echo imported", "-m", "why", str(tmp_path / "root.tar"), "flat:1"
    )
    assert engine.docker("run", "--rm", "flat:1").stdout == "imported\n"
    (found,) = json.loads(engine.docker("inspect", "flat:1").stdout)
    assert (found["Comment"], len(found["RootFS"]["Layers"])) == ("why", 1)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        engine.docker("import", "-c", 'CMD ["true"]', f"{url}/root.tar", "web:1")
        missing = engine.docker("import", f"{url}/none.tar", check=False)
        server.shutdown()
    assert "404" in missing.stderr
    assert engine.docker("run", "--rm", "web:1", "echo", "hi").stdout == "hi\n"
    bad = engine.docker("import", "-", text="no tar" * 1000, check=False)
    assert bad.returncode == 1
    assert "tar" in bad.stderr
