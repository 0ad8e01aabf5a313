"""``Release`` files: who an archive is, how long it is good, and the digests of its indexes.

Vocabulary: https://wiki.debian.org/DebianRepository/Format.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from kedge.errdefs import DataLossError, NotFoundError
from kedge.images.bootstrap.control import parse_fields

_ORIGIN: Final = "Debian"


class IndexFile(NamedTuple):
    """An index the Release vouches for."""

    path: str
    """Below the directory of the Release."""
    size_bytes: int
    sha256: str


class Release(NamedTuple):
    """One suite of an archive."""

    codename: str
    version: str
    date: datetime
    valid_until: datetime | None
    by_hash: bool
    files: dict[str, IndexFile]

    def file(self, path: str) -> IndexFile:
        """Return the index at ``path``.

        Raises:
            NotFoundError: The suite has none.
        """
        found = self.files.get(path)
        if found is None:
            raise NotFoundError(f"suite {self.codename} has no {path}")
        return found


def parse_release(text: str, *, codename: str, name: str, now: datetime) -> Release:
    """Parse a verified Release and check that it is the one that was asked for.

    A signature alone does not say that: a mirror can answer with another suite, or with an old
    state that lacks the latest fixes.

    Args:
        text: The signed content.
        codename: The suite's name, such as ``bookworm-security``.
        name: What messages call the document.
        now: The time.

    Raises:
        DataLossError: It is of another suite, has expired, or makes no sense.
    """
    fields = parse_fields(text)
    if fields.get("origin") != _ORIGIN or fields.get("codename") != codename:
        raise DataLossError(
            f"{name} is of {fields.get('origin', '?')} {fields.get('codename', '?')},"
            f" not of {_ORIGIN} {codename}"
        )
    try:
        date = _date(fields["date"])
        until = _date(fields["valid-until"]) if "valid-until" in fields else None
        files = dict(map(_parse_file, fields["sha256"].strip().split("\n")))
    except (KeyError, ValueError, TypeError) as error:
        raise DataLossError(f"{name} lacks or spoils {error}") from None
    if until is not None and until < now:
        raise DataLossError(
            f"{name} has expired on {until:%d %B %Y}: the mirror is not up to date,"
            " or the clock of this host is wrong"
        )
    return Release(
        codename=codename,
        version=fields.get("version", ""),
        date=date,
        valid_until=until,
        by_hash=fields.get("acquire-by-hash") == "yes",
        files=files,
    )


def _date(text: str) -> datetime:
    return parsedate_to_datetime(text.replace("UTC", "+0000")).astimezone(UTC)


def _parse_file(line: str) -> tuple[str, IndexFile]:
    digest, size, path = line.split()
    return path, IndexFile(path, int(size), digest.lower())
