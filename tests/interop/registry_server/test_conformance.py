"""The conformance suite of the OCI distribution specification, every optional feature asked for."""

import contextlib
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.kedgeregistry import KedgeRegistry
from tests.s3server import BUCKET, ENVIRON, S3Server
from tests.testtools import missing_plugins, tools_folder

pytestmark = [pytest.mark.interop, pytest.mark.integration]

_SUITE: Final = "oci-conformance"
_APIS: Final = (
    *("PULL", "PUSH", "REFERRER", "TAGS_ATOMIC", "TAGS_DELETE", "TAGS_LIST"),
    *("BLOBS_ATOMIC", "BLOBS_DELETE", "BLOBS_DIGEST_HEADER", "BLOBS_MOUNT_ANONYMOUS"),
    *("BLOBS_UPLOAD_CANCEL", "MANIFESTS_ATOMIC", "MANIFESTS_DELETE", "MANIFESTS_DIGEST_HEADER"),
    "MANIFESTS_TAG_PARAM",
)
_DATA: Final = (
    *("IMAGE", "INDEX", "INDEX_LIST", "SPARSE", "ARTIFACT", "SUBJECT", "SUBJECT_MISSING"),
    *("ARTIFACT_LIST", "SUBJECT_LIST", "DATA_FIELD", "NONDISTRIBUTABLE", "CUSTOM_FIELDS"),
    *("NO_LAYERS", "EMPTY_BLOB", "SHA512"),
)


@pytest.fixture(params=["disk", "bucket"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KedgeRegistry]:
    """A registry over each kind of storage; from the bucket every byte comes from there."""
    gone = missing_plugins(_SUITE)
    if gone:
        pytest.skip(gone)
    made = KedgeRegistry(tmp_path, "--allow-sparse")
    with contextlib.ExitStack() as stack:
        if request.param == "bucket":
            store = S3Server(tmp_path)
            stack.callback(store.close)
            made.environ = dict(ENVIRON)
            made.flags += ("--s3-bucket", BUCKET, "--s3-endpoint", store.endpoint)
            made.flags += ("--local-size", "0")
        stack.callback(made.close)
        made.start()
        yield made


def test_the_suite_finds_nothing(registry: KedgeRegistry, tmp_path: Path) -> None:
    done = subprocess.run(
        [tools_folder() / "cli-plugins" / _SUITE],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "OCI_REGISTRY": registry.host,
            "OCI_TLS": "disabled",
            "OCI_VERSION": "stable",
            "OCI_RESULTS_DIR": str(tmp_path / "results"),
            **{f"OCI_API_{name}": "true" for name in _APIS},
            **{f"OCI_DATA_{name}": "true" for name in _DATA},
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    suite = ET.parse(tmp_path / "results/junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped", "0")) == (
        "0",
        "0",
        "0",
    )
    assert int(suite.get("tests", "0")) > 1000
    assert done.returncode == 0
