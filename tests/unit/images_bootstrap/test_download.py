"""Downloads: whole, verified, kept, and given up when nobody waits."""

import os
from pathlib import Path

import pytest

from kedge.errdefs import DataLossError, NotFoundError, UnavailableError
from kedge.images.bootstrap.download import Wanted
from tests.unit.images_bootstrap.mirror import Impatient, MemoryFetcher, refuse, sha256
from tests.unit.images_bootstrap.test_archive import downloads

DATA = b"some package or other"
URL = "http://mirror.test/a.deb"
WANTED = Wanted((URL,), len(DATA), sha256(DATA), "a.deb")


def test_fetched_and_kept(tmp_path: Path) -> None:
    fetcher = MemoryFetcher({URL: DATA})
    seen: list[int] = []
    path = downloads(fetcher, tmp_path).fetch(WANTED, seen.append)
    assert Path(path).read_bytes() == DATA
    assert sum(seen) == len(DATA)
    seen.clear()
    assert downloads(fetcher, tmp_path).fetch(WANTED, seen.append) == path
    assert seen == [len(DATA)]
    assert fetcher.asked == [URL]


def test_what_was_spoilt_on_disk_is_fetched_again(tmp_path: Path) -> None:
    fetcher = MemoryFetcher({URL: DATA})
    path = Path(downloads(fetcher, tmp_path).fetch(WANTED))
    path.write_bytes(bytes(len(DATA)))
    downloads(fetcher, tmp_path).fetch(WANTED)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("served", [DATA[:-1], DATA + b"x", DATA[:-1] + b"X", b""])
def test_other_bytes_are_refused(served: bytes, tmp_path: Path) -> None:
    seen: list[int] = []
    with pytest.raises(
        DataLossError, match=r"hash mismatch of a\.deb: http://mirror\.test/a\.deb has"
    ):
        downloads(MemoryFetcher({URL: served}), tmp_path).fetch(WANTED, seen.append)
    assert sum(seen) == 0
    assert not list((tmp_path / "cache").iterdir())
    assert not list((tmp_path / "scratch").iterdir())


def test_second_place(tmp_path: Path) -> None:
    wanted = WANTED._replace(urls=("http://mirror.test/gone", URL))
    assert downloads(MemoryFetcher({URL: DATA}), tmp_path).fetch(wanted)


def test_nowhere(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has no http://mirror\.test/a\.deb"):
        downloads(MemoryFetcher({}), tmp_path).fetch(WANTED)


def test_many_in_the_order_asked_for(tmp_path: Path) -> None:
    contents = [bytes([65 + n]) * (n + 1) for n in range(20)]
    urls = [f"http://mirror.test/{n}" for n in range(20)]
    wanted = [
        Wanted((url,), len(data), sha256(data), url)
        for url, data in zip(urls, contents, strict=True)
    ]
    fetcher = MemoryFetcher(dict(zip(urls, contents, strict=True)))
    paths = downloads(fetcher, tmp_path).fetch_all(wanted, lambda _: None)
    assert [Path(path).read_bytes() for path in paths] == contents


def test_one_of_many_fails(tmp_path: Path) -> None:
    other = Wanted(("http://mirror.test/no",), 1, sha256(b"x"), "no.deb")
    with pytest.raises(NotFoundError, match="no"):
        downloads(MemoryFetcher({URL: DATA}), tmp_path).fetch_all([WANTED, other], lambda _: None)


def test_retries_end(tmp_path: Path) -> None:
    fetcher = MemoryFetcher({URL: DATA})
    fetcher.failures[URL] = [refuse() for _ in range(4)]
    with pytest.raises(UnavailableError, match="connection refused"):
        downloads(fetcher, tmp_path).fetch(WANTED)
    assert len(fetcher.asked) == 4


def test_cancelled(tmp_path: Path) -> None:
    cancel = Impatient()
    cancel.set()
    with pytest.raises(UnavailableError, match="bootstrap cancelled"):
        downloads(MemoryFetcher({URL: DATA}), tmp_path, cancel).fetch(WANTED)


def test_unsigned_document_has_a_limit(tmp_path: Path) -> None:
    with pytest.raises(DataLossError, match="too large"):
        downloads(MemoryFetcher({URL: bytes(17 << 20)}), tmp_path).read_unsigned(URL)


def test_trim_forgets_what_was_unused_for_longest(tmp_path: Path) -> None:
    keeper = downloads(MemoryFetcher({}), tmp_path)
    for number, name in enumerate(("new", "old", "oldest")):
        (tmp_path / "cache" / name).write_bytes(bytes(10))
        os.utime(tmp_path / "cache" / name, (1000 - number, 1000 - number))
    keeper.trim(keep_bytes=15)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["new"]
