import pytest

from kedge.engine.users import resolve_user
from kedge.errdefs import InvalidParameterError, NotFoundError

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:100:101:web:/home/web:/bin/sh\nbroken\n"
GROUP = "root:x:0:\nweb:x:101:\nlogs:x:104:web,other\n"


def resolve(user: str, group_add: tuple[str, ...] = ()) -> tuple[int, int, tuple[int, ...], str]:
    found = resolve_user(user, passwd=PASSWD, group=GROUP, group_add=group_add)
    return found.uid, found.gid, found.additional_gids, found.home


def test_empty_is_root() -> None:
    assert resolve("") == (0, 0, (0,), "/root")


def test_a_name_brings_its_groups() -> None:
    assert resolve("web") == (100, 101, (101, 104), "/home/web")


def test_a_number_that_is_known_brings_its_group() -> None:
    assert resolve("100")[:2] == (100, 101)


def test_an_unknown_number_is_taken_as_it_is() -> None:
    assert resolve("4711") == (4711, 0, (0,), "/")


def test_an_explicit_group_wins_and_drops_the_others() -> None:
    assert resolve("web:logs")[:3] == (100, 104, (104,))


def test_further_groups_are_added_by_name_and_number() -> None:
    assert resolve("web:web", ("logs", "7"))[2] == (101, 104, 7)


@pytest.mark.parametrize("user", ["nobody", "web:nogroup", "nobody:web"])
def test_unknown_names_have_dockers_text(user: str) -> None:
    with pytest.raises(NotFoundError, match="unable to find"):
        resolve(user)


def test_numbers_have_a_range() -> None:
    with pytest.raises(InvalidParameterError, match="0-2147483647"):
        resolve("4294967296")


def test_a_number_is_never_a_name() -> None:
    """CVE-2016-3697: an image may call root by a number, and a group that may do everything."""
    passwd, group = "1000:x:0:0::/:/bin/sh\n", "1000:x:0:1000\n7:x:0:\n"
    found = resolve_user("1000:7", passwd=passwd, group=group, group_add=["1000"])
    assert (found.uid, found.gid, found.additional_gids) == (1000, 7, (7, 1000))
