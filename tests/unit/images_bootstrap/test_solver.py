"""What an image needs, found over dependencies; and the index it is found in."""

import pytest

from kedge.errdefs import DataLossError, NotFoundError
from kedge.images.bootstrap.index import ArchiveIndex
from kedge.images.bootstrap.solver import ChosenPackages, solve
from tests.unit.images_bootstrap.mirror import stanza


def index(*stanzas: str) -> ArchiveIndex:
    made = ArchiveIndex("amd64")
    made.add("\n".join(stanzas), "http://m", name="Packages")
    return made


def names(made: ArchiveIndex, *wanted: str, without: frozenset[str] = frozenset()) -> list[str]:
    return [package.name for package in solve(made, wanted, without=without)]


def test_needs_of_needs_in_a_circle() -> None:
    made = index(stanza("a", Depends="b"), stanza("b", Depends="c"), stanza("c", Depends="a"))
    assert names(made, "a") == ["a", "b", "c"]


def test_first_alternative_there_is() -> None:
    made = index(
        stanza("a", Depends="none | old (>= 2) | b | c"), stanza("b"), stanza("c"), stanza("old")
    )
    assert names(made, "a") == ["a", "b"]


def test_what_is_wanted_meets_a_need_whatever_comes_first() -> None:
    made = index(
        stanza("a", Depends="usrmerge | usr-is-merged"), stanza("usrmerge"), stanza("usr-is-merged")
    )
    assert names(made, "a", "usr-is-merged") == ["a", "usr-is-merged"]


def test_virtual_package() -> None:
    made = index(
        stanza("a", Depends="awk"), stanza("mawk", Provides="awk"), stanza("gawk", Provides="awk")
    )
    assert names(made, "a") == ["a", "gawk"]
    assert names(made, "a", "mawk") == ["a", "mawk"]


def test_versioned_need_of_a_virtual_package() -> None:
    made = index(
        stanza("a", Depends="api (>= 2)"),
        stanza("b", Provides="api"),
        stanza("c", Provides="api (= 1)"),
        stanza("d", Provides="x,\n api (= 2)"),
    )
    assert names(made, "a") == ["a", "d"]


def test_left_out() -> None:
    made = index(stanza("a"), stanza("e2fsprogs"))
    assert names(made, "a", "e2fsprogs", without=frozenset({"e2fsprogs"})) == ["a"]


def test_nothing_for_a_need() -> None:
    with pytest.raises(NotFoundError, match=r"nothing for b \| c, needed by a"):
        names(index(stanza("a", Depends="b | c")), "a")


def test_no_such_package() -> None:
    with pytest.raises(NotFoundError, match="the archive has no package a"):
        names(index(), "a")


def test_newest_version_of_all_suites() -> None:
    made = index(stanza("a", "1.10"), stanza("a", "1.9"))
    made.add(stanza("a", "1.10+deb12u1"), "http://security", name="Packages")
    found = made.find("a")
    assert found is not None
    assert (found.version, found.mirror) == ("1.10+deb12u1", "http://security")


def test_other_architectures_do_not_count() -> None:
    made = index(
        stanza("a").replace("amd64\n", "i386\n"), stanza("b").replace("amd64\n", "all\n", 1)
    )
    assert made.find("a") is None
    assert made.find("b") is not None


def test_base() -> None:
    made = index(
        stanza("a", Essential="yes"),
        stanza("b", Priority="required"),
        stanza("c", Build_Essential="yes"),
        stanza("d", Priority="optional"),
    )
    assert made.base_packages() == ["a", "b"]


def test_not_an_index() -> None:
    with pytest.raises(DataLossError, match='Packages: an entry begins with "<html>'):
        index("<html>")


def test_among_the_chosen_only() -> None:
    made = index(
        stanza("a", Depends="awk"), stanza("mawk", Provides="awk"), stanza("gawk", Provides="awk")
    )
    chosen = ChosenPackages(solve(made, ("a", "mawk")))
    assert [package.name for package in solve(chosen, ("a",))] == ["a", "mawk"]
