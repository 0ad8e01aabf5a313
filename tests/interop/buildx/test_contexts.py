"""What ``docker build`` with buildx transfers of a context."""

import os
import re
import subprocess
import sys

import pytest

from tests.engine import DOCKER
from tests.interop.buildx.client import Buildx

pytestmark = pytest.mark.interop


def test_only_what_the_needed_stages_copy_is_transferred(buildx: Buildx) -> None:
    buildx.write(
        {
            "Dockerfile": "FROM scratch AS unused\nCOPY bx-never /\n"
            "FROM busybox\nCOPY bx-*.txt bx-link /all/\nARG NAME\nCOPY $NAME /all/named\n"
            "RUN --mount=target=/m,source=bx-mounted cat /m/file > /all/mounted\n",
            "bx-one.txt": "1", "bx-two.txt": "2", "bx-linked/x": "3", "bx-named": "4",
            "bx-mounted/file": "5", "bx-never": "no", "bx-nor-this/big": "no",
        }
    )  # fmt: skip
    (buildx.folder / "bx-link").symlink_to("bx-linked/x")
    words = ("--build-arg", "NAME=bx-named")
    buildx.build("-t", "bx-needed", *words)
    copied = ("bx-one.txt", "bx-two.txt", "bx-link", "named", "mounted")
    assert buildx.output_of("bx-needed", "cat", *(f"/all/{name}" for name in copied)) == "12345"
    folders = (buildx.engine.root / "data/build-contexts").glob("kept-*")
    kept = {path.name for folder in folders for path in folder.rglob("bx-*")}
    assert {"bx-one.txt", "bx-two.txt", "bx-linked", "bx-named", "bx-mounted"} <= kept
    assert not {"bx-never", "bx-nor-this"} & kept

    types = ("--filter", "type=source.local")
    listed = buildx.run("buildx", "du", *types, "--verbose").stdout
    assert listed.count("files of a client's folder") == 1
    assert "Total:" in buildx.engine.kedge("builder", "du", *types).stdout

    buildx.write({"bx-named": "other"})
    buildx.build("-t", "bx-needed", *words)
    assert buildx.output_of("bx-needed", "cat", "/all/bx-one.txt", "/all/named") == "1other"
    buildx.engine.docker("builder", "prune", "-af", *types)
    assert not list((buildx.engine.root / "data/build-contexts").iterdir())


def test_triggers_of_a_base_image_get_what_they_copy(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nONBUILD COPY page /page\n"})
    buildx.build("-t", "bx-onbuild")
    buildx.write({"Dockerfile": "FROM bx-onbuild\nCOPY other /\n", "page": "p", "other": "o"})
    buildx.build("-t", "bx-triggered")
    assert buildx.output_of("bx-triggered", "cat", "/page", "/other") == "po"


def test_a_missing_source_names_what_is_nearest(buildx: Buildx) -> None:
    buildx.write(
        {"Dockerfile": "FROM busybox\nCOPY requirement.txt /\n", "requirements.txt": "flask"}
    )
    log = buildx.build(check=False)
    assert "did you mean requirements.txt?" in log


UNPRIVILEGED = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")
"""Root that may read no more than its own files."""


def test_a_file_its_user_may_not_read_is_named(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nCOPY . /all\n", "theirs": "secret"})
    os.chown(buildx.folder / "theirs", 4711, 4711)
    (buildx.folder / "theirs").chmod(0o600)
    kedge = (sys.executable, "-c", "from kedge.cli.main import main; main()")
    for client in ((str(DOCKER),), kedge):
        for switch in ("0", "1"):
            done = subprocess.run(
                [*UNPRIVILEGED, *client, "build", "."], cwd=buildx.folder,
                env={**buildx.environment, "DOCKER_BUILDKIT": switch}, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=90, check=False,
            )  # fmt: skip
            assert done.returncode != 0
            assert re.search(r"theirs['\"]?(:|$)", done.stderr, re.MULTILINE), done.stderr
            assert "permission" in done.stderr
