"""Records made at run time are what a type checker takes them for: named tuples."""

import pickle

import pytest

from kedge.lib.hints import NamedTuple, Protocol, cast
from kedge.lib.records import Record, RecordType


class Point(NamedTuple):
    """A place."""

    x: int
    y: int = 0
    """How far down."""
    name: str = ""

    @property
    def sum(self) -> int:
        """Both."""
        return self.x + self.y


class Named(Point):
    """One that adds to a record's methods."""

    def __str__(self) -> str:
        return self.name


def test_fields_are_given_in_order_by_name_or_by_default() -> None:
    assert Point(1) == Point(x=1, y=0) == (1, 0, "")
    assert Point(1, name="a") == (1, 0, "a")
    x, y, name = Point(3, 4, "b")
    assert (x, y, name, Point(3, 4).sum) == (3, 4, "b", 7)
    assert (Point(3, 4).x, Point(3, 4).y, Point(3).name) == (3, 4, "")


def test_a_copy_has_other_values_in_the_named_fields() -> None:
    assert Point(1, 2)._replace(y=5) == Point(1, 5)
    assert type(Point(1)._replace(x=2)) is Point
    assert Point(1, 2)._asdict() == {"x": 1, "y": 2, "name": ""}
    assert (Point._fields, Point._field_defaults) == (("x", "y", "name"), {"y": 0, "name": ""})


def test_it_shows_compares_matches_and_travels_like_a_named_tuple() -> None:
    assert repr(Point(1, 2)) == "Point(x=1, y=2, name='')"
    assert {Point(1, 2): "here"}[Point(1, 2)] == "here"
    assert pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
    assert isinstance(Point(1), tuple)
    assert isinstance(Point(1), Record)
    assert not hasattr(Point(1), "__dict__")


def test_a_class_derived_from_a_record_has_its_fields() -> None:
    assert str(Named(1, 2, "c")) == "c"
    assert Named(1).sum == 1


@pytest.mark.parametrize(
    ("values", "named", "told"),
    [
        ((), {}, "Point lacks x"),
        ((1, 2, "", 4), {}, "Point takes 3 fields but 4 were given"),
        ((1,), {"x": 2}, "Point: x was given twice"),
        ((1,), {"z": 2}, "Point: z is no field"),
    ],
)
def test_what_does_not_fit_is_refused(
    values: tuple[object, ...], named: dict[str, object], told: str
) -> None:
    with pytest.raises(TypeError, match=told):
        Record.__new__(cast("type[Record]", Point), *values, **named)


def test_a_field_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        setattr(Point(1), "x", 2)  # noqa: B010 - a type checker refuses the plain way


def test_a_default_before_a_field_without_one_is_a_mistake() -> None:
    namespace: dict[str, object] = {"__annotations__": {"x": int, "y": int}, "x": 1}
    with pytest.raises(TypeError, match="a field without a default follows one with a default"):
        RecordType("Wrong", (Record,), namespace)


def test_the_other_names_do_nothing_at_run_time() -> None:
    class Speaker(Protocol):
        """Somebody with a voice."""

    class Dog(Speaker):
        """One."""

    marker = object()
    assert cast("str", marker) is marker
    assert isinstance(Dog(), Dog)
