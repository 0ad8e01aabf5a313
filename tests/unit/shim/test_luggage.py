"""Descriptors keep their names on the way."""

from kedge.shim.luggage import Luggage, unpack


def test_what_is_waited_for_comes_first_and_counts_once() -> None:
    luggage = Luggage()
    luggage.keep("stdin", -1)
    luggage.keep("terminal", 7)
    luggage.wait_for("listener", 5)
    luggage.wait_for("terminal", 7)
    luggage.keep("terminal", 7)
    luggage.keep("log", 9)
    assert (luggage.waited, luggage.kept) == ([5, 7], [9])
    assert luggage.names() == ["listener", "terminal", "log"]
    found = unpack(["listener", "terminal", "log"], (3, 4, 6))
    assert found == {"listener": 3, "terminal": 4, "log": 6}
