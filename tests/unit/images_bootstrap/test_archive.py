"""A release at a mirror: verified all the way from the key to the package."""

import threading
from datetime import timedelta
from pathlib import Path

import pysequoia
import pytest

from kedge.errdefs import DataLossError, NotFoundError, NotSupportedError, UnavailableError
from kedge.images.bootstrap.archive import (
    Archive,
    debian_architecture,
    open_archive,
    package_file,
)
from kedge.images.bootstrap.download import Downloads
from kedge.images.bootstrap.mirrors import Mirrors
from tests.unit.images_bootstrap.mirror import (
    KEY,
    NOW,
    SECURITY_URL,
    URL,
    FixedClock,
    Impatient,
    MemoryFetcher,
    add_suite,
    refuse,
    release_text,
    sign,
    stanza,
    whole_archive,
)

CERTS = [KEY.extract_certificate()]
BOTH = Mirrors(URL, SECURITY_URL)


def downloads(
    fetcher: MemoryFetcher, directory: Path, cancel: threading.Event | None = None
) -> Downloads:
    (directory / "scratch").mkdir(exist_ok=True)
    return Downloads(
        str(directory / "cache"), fetcher, cancel or Impatient(), scratch=str(directory / "scratch")
    )


def load(fetcher: MemoryFetcher, directory: Path, mirrors: Mirrors = BOTH) -> Archive:
    return open_archive(
        "bookworm",
        mirrors=mirrors,
        architecture="amd64",
        downloads=downloads(fetcher, directory),
        certs=CERTS,
        clock=FixedClock(),
    )


def test_all_suites(tmp_path: Path) -> None:
    documents = whole_archive(
        main=stanza("hello", "1") + "\n" + stanza("other"), security=stanza("hello", "1+deb12u1")
    )
    archive = load(MemoryFetcher(documents), tmp_path)
    hello, other = archive.packages.find("hello"), archive.packages.find("other")
    assert hello is not None
    assert other is not None
    assert package_file(hello).urls == (f"{SECURITY_URL}/pool/hello_1+deb12u1_amd64.deb",)
    assert package_file(other).urls == (f"{URL}/pool/other_1.0_amd64.deb",)
    assert archive.release.version == "12.9"
    assert archive.release.date.isoformat() == "2026-07-11T10:16:37+00:00"


def test_index_is_fetched_once(tmp_path: Path) -> None:
    fetcher = MemoryFetcher(whole_archive())
    load(fetcher, tmp_path)
    fetcher.asked.clear()
    load(fetcher, tmp_path)
    assert sorted(url.rpartition("/")[2] for url in fetcher.asked) == ["InRelease"] * 3


def test_mirror_without_by_hash_folders(tmp_path: Path) -> None:
    documents = {url: data for url, data in whole_archive().items() if "by-hash" not in url}
    assert load(MemoryFetcher(documents), tmp_path).packages.find("hello") is not None


def test_without_security(tmp_path: Path) -> None:
    fetcher = MemoryFetcher(whole_archive())
    load(fetcher, tmp_path, Mirrors(URL, ""))
    assert not [url for url in fetcher.asked if url.startswith(SECURITY_URL)]


def test_mirror_has_no_security_suite(tmp_path: Path) -> None:
    documents = whole_archive()
    del documents[f"{SECURITY_URL}/dists/bookworm-security/InRelease"]
    with pytest.raises(
        NotFoundError, match=r"no bookworm-security at .* KEDGE_DEBIAN_SECURITY_MIRROR"
    ):
        load(MemoryFetcher(documents), tmp_path)


def test_another_suite_under_this_name(tmp_path: Path) -> None:
    documents = whole_archive()
    documents[f"{URL}/dists/bookworm/InRelease"] = sign(release_text("bullseye", {"x": b""}))
    with pytest.raises(DataLossError, match="is of Debian bullseye, not of Debian bookworm"):
        load(MemoryFetcher(documents), tmp_path)


def test_replayed_old_state(tmp_path: Path) -> None:
    documents = whole_archive()
    add_suite(documents, SECURITY_URL, "bookworm-security", "", until=NOW - timedelta(days=1))
    with pytest.raises(DataLossError, match="has expired on 22 November 2026"):
        load(MemoryFetcher(documents), tmp_path)


def test_release_without_digests(tmp_path: Path) -> None:
    documents = whole_archive()
    text = release_text("bookworm", {}).replace("SHA256:\n", "")
    documents[f"{URL}/dists/bookworm/InRelease"] = sign(text)
    with pytest.raises(DataLossError, match="lacks or spoils 'sha256'"):
        load(MemoryFetcher(documents), tmp_path)


def test_index_that_is_not_the_signed_one(tmp_path: Path) -> None:
    documents = whole_archive()
    for url in documents:
        if "bookworm/main" in url:
            documents[url] = documents[url][:-1] + b"?"
    with pytest.raises(DataLossError, match=r"hash mismatch of Packages.xz of bookworm"):
        load(MemoryFetcher(documents), tmp_path)
    assert not list((tmp_path / "scratch").iterdir())


def test_somebody_elses_archive(tmp_path: Path) -> None:
    documents = whole_archive()
    url = f"{URL}/dists/bookworm/InRelease"
    documents[url] = sign(
        release_text("bookworm", {"x": b""}), pysequoia.Tsk.generate("m@mirror.test")
    )
    with pytest.raises(DataLossError, match=r"InRelease of bookworm at .* no valid signature"):
        load(MemoryFetcher(documents), tmp_path)


def test_a_passing_failure_is_passed_over(tmp_path: Path) -> None:
    fetcher = MemoryFetcher(whole_archive())
    fetcher.failures[f"{URL}/dists/bookworm/InRelease"] = [refuse(), refuse()]
    assert load(fetcher, tmp_path).packages.find("hello") is not None


def test_a_lasting_failure_is_told(tmp_path: Path) -> None:
    fetcher = MemoryFetcher(whole_archive())
    fetcher.failures[f"{URL}/dists/bookworm/InRelease"] = [refuse() for _ in range(9)]
    with pytest.raises(UnavailableError, match=r"mirror.test:80: connection refused"):
        load(fetcher, tmp_path)


def test_architectures() -> None:
    assert debian_architecture("amd64", "") == "amd64"
    assert debian_architecture("arm", "v7") == "armhf"
    with pytest.raises(NotSupportedError, match="no packages for wasm"):
        debian_architecture("wasm", "")
