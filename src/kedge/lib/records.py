"""Tuples with named fields, as `typing.NamedTuple` makes them, without what `typing` costs.

Written as ``class Point(NamedTuple)`` with the name from `kedge.lib.hints`, so that a type checker
knows the fields. What differs: no source is compiled for a class, which is quicker to make and
slower to fill; so not for what is made by the thousand.
"""

from _operator import itemgetter


class RecordType(type):
    """Makes a class whose annotations are the fields of a tuple, in order."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, object]
    ) -> "RecordType":
        """Return the class; a value given to a field is its default."""
        made = super().__new__(cls, name, bases, {"__slots__": (), **namespace})
        if bases == (tuple,) or vars(bases[0]).get("_fields"):
            # The base itself, or a class that adds methods to a record's.
            return made
        fields = tuple(made.__annotations__)
        defaults = {field: namespace[field] for field in fields if field in namespace}
        if fields[len(fields) - len(defaults) :] != tuple(defaults):
            raise TypeError(f"{name}: a field without a default follows one with a default")
        for position, field in enumerate(fields):
            setattr(made, field, property(itemgetter(position)))
        for key, content in (
            ("_fields", fields), ("_field_defaults", defaults), ("__match_args__", fields)
        ):  # fmt: skip
            setattr(made, key, content)
        return made


class Record(tuple[object, ...], metaclass=RecordType):
    """The base of all records; has no fields itself."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()
    _field_defaults: dict[str, object] = {}  # noqa: RUF012 - each class of records has its own

    def __new__(cls, *values: object, **named: object) -> "Record":  # noqa: PYI034 - no typing
        """Make one of its fields, in order or by name."""
        if named or len(values) != len(cls._fields):
            values = cls._complete(values, named)
        return super().__new__(cls, values)

    @classmethod
    def _complete(cls, values: tuple[object, ...], named: dict[str, object]) -> tuple[object, ...]:
        if len(values) > len(cls._fields):
            raise TypeError(
                f"{cls.__name__} takes {len(cls._fields)} fields but {len(values)} were given"
            )
        rest = cls._fields[len(values) :]
        for name in named:
            if name not in rest:
                why = "was given twice" if name in cls._fields else "is no field"
                raise TypeError(f"{cls.__name__}: {name} {why}")
        given = {**cls._field_defaults, **named}
        missing = [field for field in rest if field not in given]
        if missing:
            raise TypeError(f"{cls.__name__} lacks {', '.join(missing)}")
        return (*values, *(given[field] for field in rest))

    def _replace(self, **changes: object) -> "Record":
        """Return a copy with other values in some fields."""
        return type(self)(**{**self._asdict(), **changes})

    def _asdict(self) -> dict[str, object]:
        """Return the values by field."""
        return dict(zip(self._fields, self, strict=True))

    def __getnewargs__(self) -> tuple[object, ...]:
        """Return what makes an equal one."""
        return tuple(self)

    def __repr__(self) -> str:
        """Return the call that makes an equal one."""
        fields = (f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({', '.join(fields)})"
