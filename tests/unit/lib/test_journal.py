"""Lines of the journal, whole, torn and damaged."""

from pathlib import Path

from kedge.lib.journal import Change, Journal, encode_line, read_journal

_CHANGES: list[Change] = [("INSERT x", ("a\n", 1, 1.5, None, b"text", b"\xff\n")), ("DROP", ())]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    journal = Journal(path)
    journal.append(_CHANGES)
    journal.append(_CHANGES[1:])
    journal.close()
    assert list(read_journal(path)) == [_CHANGES, _CHANGES[1:]]
    assert journal.size_bytes == Path(path).stat().st_size


def test_a_torn_and_a_damaged_line_are_none(tmp_path: Path) -> None:
    line = encode_line(_CHANGES)
    (tmp_path / "j").write_bytes(line.replace(b"DROP", b"DRAP") + line + line[:-9])
    assert list(read_journal(str(tmp_path / "j"))) == [None, _CHANGES, None]
    (tmp_path / "j").write_bytes(b"\x00" * 5000)
    assert list(read_journal(str(tmp_path / "j"))) == [None]


def test_no_file_is_no_change(tmp_path: Path) -> None:
    assert list(read_journal(str(tmp_path / "none"))) == []


def test_nothing_follows_a_failed_write() -> None:
    journal = Journal("/dev/full")
    journal.append(_CHANGES)
    assert (journal.is_whole, journal.size_bytes) == (False, 0)
    journal.append(_CHANGES)
    assert journal.size_bytes == 0
    journal.close()
