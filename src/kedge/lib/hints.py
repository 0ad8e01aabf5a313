"""What of `typing` has to be there at run time, for modules that every command's start pays for.

`typing` and `collections.abc` bring `re`, `enum`, `functools` and more along, which together take
as long to load as the interpreter itself. So such a module has its annotations left alone
(``from __future__ import annotations``) and imports their names below ``if TYPE_CHECKING``, from
where they belong. What is more than an annotation comes from here: a type checker finds the real
thing, and at run time `NamedTuple` makes records of the same look (`kedge.lib.records`).
`tests/meta/test_import_budget.py` says which modules a command may load.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NamedTuple, Protocol, cast
else:
    from kedge.lib.records import Record as NamedTuple

    class Protocol:
        """What a class has to have; a type checker sees to it."""

        __slots__ = ()

    def cast(_kind: object, given: object) -> object:
        """Return ``given``."""
        return given


__all__ = ["TYPE_CHECKING", "NamedTuple", "Protocol", "cast"]
