"""Contexts sent in parts: what is asked for, and that the parts make the whole."""

import io
import tarfile
import tempfile
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.archive.entry import Kind
from kedge.builder.files.digests import remembered_digest
from kedge.builder.files.ignored import IgnoredTree
from kedge.builder.files.kept import KeptContexts, KeptTree, Listed, parse_listing
from kedge.builder.files.selection import Selected
from kedge.builder.files.tar import TarTree, read_tar
from kedge.errdefs import ConflictError, InvalidParameterError
from kedge.lib.ignorefile import IgnoreMatcher


def body(files: Mapping[str, bytes]) -> TarTree:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    buffer.seek(0)
    return read_tar(buffer, scratch=tempfile.gettempdir())


def listing(files: Mapping[str, bytes]) -> list[Listed]:
    folders = sorted({name.rpartition("/")[0] for name in files} - {""})
    listed = [Listed(name, "d", 0o755, 1) for name in folders]
    return listed + [
        Listed(name, "f", 0o644, 1, len(data), data.hex()) for name, data in files.items()
    ]


def build(store: KeptContexts, files: Mapping[str, bytes], key: str = "k") -> tuple[int, KeptTree]:
    """Send a context as a client does; return how many files were asked for, and the tree."""
    listed = listing(files)
    token, needed = store.compare(key, listed)
    asked = [listed[number].path for number in needed]
    return len(asked), store.take(token, body({name: files[name] for name in asked}))


def contents(tree: KeptTree, folder: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in tree.names(folder):
        path = f"{folder}/{name}" if folder else name
        entry = tree.entry(path)
        assert entry is not None
        if entry.kind is Kind.DIRECTORY:
            found |= contents(tree, path)
        else:
            with tree.open(path) as stream:
                found[path] = stream.read()
    return found


def forget_all(store: KeptContexts) -> None:
    ids = [context.id for context in store.contexts()]
    assert store.forget(ids)[0] == ids
    assert not store.contexts()


CONTEXTS = st.dictionaries(
    st.sampled_from(["a", "b", "d/c", "d/e", "f/g"]), st.binary(max_size=4), max_size=5
)


@given(st.lists(CONTEXTS, min_size=1, max_size=20))
def test_parts_make_the_whole(versions: list[dict[str, bytes]]) -> None:
    store = KeptContexts()
    before: dict[str, bytes] = {}
    for number, files in enumerate(versions):
        asked, tree = build(store, files)
        assert contents(tree) == files
        changed = [name for name in files if before.get(name) != files[name]]
        assert len(changed) <= asked <= len(files)
        if number < 10:
            assert asked == len(changed)
        tree.release()
        before = files
    forget_all(store)


def test_an_unchanged_folder_is_the_tree_it_was_with_the_digests_it_had() -> None:
    store = KeptContexts()
    files = {"a": b"1", "d/c": b"2"}
    _, first = build(store, files)
    whole = Selected(path="", name="", is_directory=True)
    nothing = IgnoreMatcher(())
    assert remembered_digest(first, whole, nothing, lambda: "computed") == "computed"
    ignored = IgnoredTree(first, IgnoreMatcher(["*.o"]))
    assert remembered_digest(ignored, whole, nothing, lambda: "less") == "less"
    excluded = IgnoreMatcher(["d"])
    assert remembered_digest(first, whole, excluded, lambda: "part") == "part"
    first.release()
    asked, second = build(store, files)
    assert asked == 0
    for tree, excludes, known in (
        (second, nothing, "computed"),
        (ignored, nothing, "less"),
        (second, excluded, "part"),
    ):
        assert remembered_digest(tree, whole, excludes, lambda: "anew") == known
    forget_all(store)
    assert contents(second) == files
    second.release()
    _, third = build(store, files)
    assert remembered_digest(third, whole, nothing, lambda: "anew") == "anew"
    third.release()
    forget_all(store)


def test_other_folders_share_nothing() -> None:
    store = KeptContexts()
    _, one = build(store, {"a": b"1"})
    asked, two = build(store, {"a": b"1"}, key="other")
    assert asked == 1
    for tree in (one, two):
        tree.release()
    forget_all(store)


def test_a_build_keeps_what_a_later_one_replaced() -> None:
    store = KeptContexts()
    _, old = build(store, {"a": b"old", "b": b"same"})
    _, new = build(store, {"a": b"new", "b": b"same"})
    forget_all(store)
    assert contents(old) == {"a": b"old", "b": b"same"}
    old.release()
    assert contents(new) == {"a": b"new", "b": b"same"}
    new.release()
    asked, last = build(store, {"b": b"same"})
    assert asked == 1
    last.release()
    forget_all(store)


def test_what_is_forgotten_between_the_list_and_the_build_stays_readable() -> None:
    store = KeptContexts()
    build(store, {"a": b"1"})[1].release()
    token, needed = store.compare("k", listing({"a": b"1"}))
    assert needed == []
    forget_all(store)
    tree = store.take(token, body({}))
    assert contents(tree) == {"a": b"1"}
    tree.release()
    forget_all(store)


def test_files_that_vanish_and_tokens_nobody_knows() -> None:
    store = KeptContexts()
    token, _ = store.compare("k", listing({"a": b"1", "b": b"2"}))
    tree = store.take(token, body({"a": b"1"}))
    assert contents(tree) == {"a": b"1"}
    tree.release()
    with pytest.raises(ConflictError, match="has forgotten this build context"):
        store.take(token, body({}))
    tokens = [store.compare("k", [])[0] for _ in range(80)]
    with pytest.raises(ConflictError):
        store.take(tokens[0], body({}))
    for last in tokens[-64:]:
        store.take(last, body({})).release()
    forget_all(store)


@pytest.mark.parametrize(
    "items",
    [[["../x", "f", 0, 0]], [["/x", "f", 0, 0]], [["x", "b", 0, 0]], [["", "d", 0, 0]], [3], {}],
)
def test_lists_that_are_none(items: object) -> None:
    with pytest.raises(InvalidParameterError, match="invalid list of a build context"):
        parse_listing(msgspec.json.encode(items))


def test_what_is_remembered_is_listed_with_what_it_takes() -> None:
    now = iter((10, 15, 16))
    store = KeptContexts(lambda: next(now))
    build(store, {"a": b"12345", "b": b"1"}, key="host /src/my app 77")[1].release()
    _, used = build(store, {"a": b"1234567", "b": b"1"}, key="host /src/my app 77")
    build(store, {"a": b"1"}, key="another")[1].release()
    first, second = store.contexts()
    # What a later transfer replaced stays as long as what came with it.
    assert (first.name, first.size_bytes, first.is_used) == ("host:/src/my app", 13, True)
    assert (first.created_ns, first.used_ns) == (10, 15)
    assert (second.name, second.is_used) == ("another", False)
    assert store.forget(["none", second.id]) == ([second.id], 1)
    assert [context.id for context in store.contexts()] == [first.id]
    assert contents(used) == {"a": b"1234567", "b": b"1"}
    used.release()
    forget_all(store)
