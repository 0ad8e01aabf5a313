"""`contextlib.suppress` and `contextmanager` for modules that every command's start pays for.

`contextlib` brings `collections` and `functools` along, 8 ms of processor time. What is here does
the same for the usual case; a type checker sees the originals.
"""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import contextmanager, suppress
else:

    class suppress:  # noqa: N801 - its name in the standard library
        """Ends a block at the first of some failures, as if that were its end."""

        __slots__ = ("_kinds",)

        def __init__(self, *kinds: type[BaseException]) -> None:
            """Say which failures."""
            self._kinds = kinds

        def __enter__(self) -> None:
            """Begin the block."""

        def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> bool:
            """End it."""
            return kind is not None and issubclass(kind, self._kinds)

    class _Block:
        """A generator that yields once, as a context."""

        __slots__ = ("_steps",)

        def __init__(self, steps: object) -> None:
            self._steps = steps

        def __enter__(self) -> object:
            return next(self._steps)

        def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
            if error is None:
                next(self._steps, None)
                return False
            try:
                self._steps.throw(error)
            except StopIteration:
                return True
            except BaseException as raised:
                if raised is error:
                    return False
                raise
            raise RuntimeError("the generator of a context went on after a failure")

    def contextmanager(function: object) -> object:
        """Return ``function``, a generator that yields once, as a maker of contexts."""

        def make(*values: object, **named: object) -> _Block:
            return _Block(function(*values, **named))

        return make


__all__ = ["contextmanager", "suppress"]
