"""``--chmod``: octal numbers and the symbolic form of chmod(1)."""

import re
from typing import Final

from kedge.archive.entry import Entry, Kind
from kedge.errdefs import InvalidParameterError

_OCTAL: Final = re.compile(r"0*[0-7]{1,4}")
_CLAUSE: Final = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION: Final = re.compile(r"([-+=])([ugo](?![rwxXst])|[rwxXst]*)")
_SHIFT: Final = {"u": 6, "g": 3, "o": 0}
_BITS: Final = {"r": 4, "w": 2, "x": 1}


def check_mode(text: str) -> None:
    """Make sure that ``text`` is a mode.

    Raises:
        InvalidParameterError: It is neither octal up to 07777 nor symbolic.
    """
    if _OCTAL.fullmatch(text):
        return
    if not text or not all(_CLAUSE.fullmatch(clause) for clause in text.split(",")):
        raise InvalidParameterError(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            ", or symbolic such as u=rwX,go=rX"
        )


def apply_mode(text: str, entry: Entry) -> int:
    """Return the mode that ``--chmod=text`` gives to ``entry``."""
    if _OCTAL.fullmatch(text):
        return int(text, 8)
    mode = entry.mode
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            continue
        who = "ugo" if match[1] in ("", "a") or "a" in match[1] else match[1]
        for operator, permissions in _ACTION.findall(match[2]):
            mode = _change(mode, who, operator, permissions, is_directory=_is_directory(entry))
    return mode


def _is_directory(entry: Entry) -> bool:
    return entry.kind is Kind.DIRECTORY


def _change(mode: int, who: str, operator: str, permissions: str, *, is_directory: bool) -> int:
    bits = 0
    for person in who:
        bits |= _bits(mode, person, permissions, is_directory=is_directory)
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    for person in who:
        mode &= ~(0o7 << _SHIFT[person])
        mode &= ~{"u": 0o4000, "g": 0o2000, "o": 0}[person]
    return mode | bits


def _bits(mode: int, person: str, permissions: str, *, is_directory: bool) -> int:
    if permissions in _SHIFT:
        return ((mode >> _SHIFT[permissions]) & 0o7) << _SHIFT[person]
    bits = 0
    for letter in permissions:
        if letter in _BITS:
            bits |= _BITS[letter] << _SHIFT[person]
        elif letter == "X" and (is_directory or mode & 0o111):
            bits |= 1 << _SHIFT[person]
        elif letter == "s":
            bits |= {"u": 0o4000, "g": 0o2000, "o": 0}[person]
        elif letter == "t":
            bits |= 0o1000
    return bits
