"""`kedge.lib.blocks` against `contextlib`: the same happens whatever a block does."""

import contextlib
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager

import pytest

from kedge.lib import blocks

Maker = Callable[[list[str]], AbstractContextManager[int]]


def _steps(seen: list[str]) -> Generator[int, None, None]:
    seen.append("entered")
    try:
        yield 7
    except KeyError:
        seen.append("swallowed")
    except IndexError as error:
        raise ValueError("another") from error
    finally:
        seen.append("left")


def _fail(failure: type[Exception] | None) -> None:
    if failure is not None:
        raise failure("it")


def _happens(make: Maker, failure: type[Exception] | None) -> tuple[list[str], str]:
    seen: list[str] = []
    try:
        with make(seen) as given:
            assert given == 7
            seen.append("inside")
            _fail(failure)
    except Exception as error:  # noqa: BLE001 - which one is what is compared
        return seen, repr(error)
    return seen, ""


@pytest.mark.parametrize("failure", [None, KeyError, IndexError, OSError])
def test_a_generator_as_a_context(failure: type[Exception] | None) -> None:
    ours = _happens(blocks.contextmanager(_steps), failure)
    assert ours == _happens(contextlib.contextmanager(_steps), failure)
    assert ours[0][-1] == "left"


def test_failures_that_are_named_end_the_block() -> None:
    seen: list[str] = []
    with blocks.suppress(FileNotFoundError, KeyError):
        seen.append("begun")
        raise KeyError("it")
    with blocks.suppress(OSError):
        raise FileNotFoundError("it")
    assert seen == ["begun"]


def test_other_failures_do_not() -> None:
    with pytest.raises(IndexError), blocks.suppress(KeyError, OSError):
        raise IndexError("it")
