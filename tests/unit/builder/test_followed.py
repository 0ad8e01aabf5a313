"""Contexts of which only what steps ask for comes."""

import pytest

from kedge.builder.dockerfile.typed import parse_dockerfile
from kedge.builder.files.followed import FollowedTree, expect, follow, followed_path
from kedge.builder.files.ignored import IgnoredTree
from kedge.builder.files.selection import select
from kedge.builder.files.tree import MemoryTree, Tree
from kedge.builder.needed import needed_sources
from kedge.builder.plan import plan_build
from kedge.errdefs import NotFoundError
from kedge.lib.ignorefile import IgnoreMatcher
from kedge.oci.platforms import Platform

FILES = {"a": b"1", "b": b"2", "notes.txt": b"3"}


class Client:
    """Has files, gives what it is asked for, and remembers that."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.tree = FollowedTree(self.receive)

    def receive(self, paths: tuple[str, ...]) -> Tree:
        self.asked.append(paths)
        return MemoryTree({name: FILES[name] for name in FILES if not paths or name in paths})


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (".", ""), ("/", ""), ("a/./b", "a/b"), ("../x", "x"), ("src/*.py", "src/*.py"),
        ("src/**/x", "src"), ("odd\\*name", ""), ("a/b\\ c/d", "a"),
    ],
)  # fmt: skip
def test_sources_become_paths_a_client_understands(source: str, path: str) -> None:
    assert followed_path(source) == path


def test_what_is_expected_comes_at_once_and_the_rest_when_it_is_needed() -> None:
    client = Client()
    expect(client.tree, ["b"])
    assert client.asked == []
    follow(client.tree, ["a"])
    follow(client.tree, ["b"])
    assert client.asked == [("a", "b")]
    assert client.tree.names("") == ("a", "b")
    follow(client.tree, ["notes.txt"])
    assert client.asked[1:] == [("a", "b", "notes.txt")]
    follow(client.tree, ["."])
    follow(client.tree, ["whatever"])
    assert client.asked[2:] == [()]


def test_whoever_does_not_say_what_is_needed_gets_everything() -> None:
    client = Client()
    assert client.tree.names("") == tuple(FILES)
    assert client.asked == [()]


def test_a_missing_source_is_compared_with_everything_there_is() -> None:
    client = Client()
    follow(client.tree, ["note.txt"])
    with pytest.raises(NotFoundError, match=r"did you mean notes\.txt\?"):
        select(client.tree, ["note.txt"], instruction="COPY")


def test_exceptions_of_the_ignore_file_are_looked_for_again() -> None:
    client = Client()
    tree = IgnoredTree(client.tree, IgnoreMatcher(("*", "!b")))
    follow(tree, ["a"])
    assert tree.entry("a") is None
    assert tree.entry("b") is None
    follow(tree, ["b"])
    assert tree.entry("b") is not None


def test_only_needed_stages_decide_what_is_needed() -> None:
    text = (
        "FROM scratch AS unused\nCOPY never /\n"
        "FROM scratch AS base\nCOPY a $B 'c d' /\nADD d.tar https://example.com/e /\n"
        "FROM base\nCOPY --from=base f /\nRUN --mount=target=/g,source=g --mount=type=cache,"
        "target=/h,source=h true\nRUN --mount=target=/all true\n"
    )
    platform = Platform(os="linux", architecture="amd64")
    plan = plan_build(
        parse_dockerfile(text),
        target="",
        build_args={},
        build_platform=platform,
        target_platform=platform,
    )
    assert needed_sources(plan) == ["a", "d.tar", "g", ""]
