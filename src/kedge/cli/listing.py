"""One way to print a list: a table, ``-q``, a ``--format`` template, ``table …`` or JSON lines."""

from __future__ import annotations

from kedge.cli.output import print_lines, print_table
from kedge.lib import quickjson
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject


_FIELD: Final = r"\{\{[^}]*?\.(\w+)[^}]*\}\}"


def print_listing(
    rows: Sequence[JsonObject],
    *,
    headers: Mapping[str, str],
    columns: Sequence[str],
    template: str = "",
    quiet: str = "",
) -> None:
    """Print ``rows``.

    Args:
        rows: One mapping of field name to text each; other values are for templates only.
        headers: Heading of each field.
        columns: Fields of the default table, in order.
        template: Value of ``--format``; empty for the table.
        quiet: The field that is printed alone with ``-q``; empty when not asked for.
    """
    if quiet:
        print_lines([str(row[quiet]) for row in rows])
    elif template == "json":
        print_lines([to_json(_texts_of(row)) for row in rows])
    elif template.startswith("table"):
        _print_own_table(rows, headers, columns, template.removeprefix("table").strip())
    elif template:
        from kedge.cli.template import Template  # noqa: PLC0415 - rarely needed

        parsed = Template(template)
        print_lines([parsed.render(_with_methods(row)) for row in rows])
    else:
        print_table([headers[c] for c in columns], [[str(row[c]) for c in columns] for row in rows])


def _print_own_table(
    rows: Sequence[JsonObject], headers: Mapping[str, str], columns: Sequence[str], text: str
) -> None:
    if not text:
        print_listing(rows, headers=headers, columns=columns)
        return
    import re  # noqa: PLC0415 - rarely needed

    from kedge.cli.template import Template  # noqa: PLC0415 - rarely needed

    heading = re.sub(_FIELD, lambda match: headers.get(match[1], match[1].upper()), text)
    parsed = Template(text)
    lines = [parsed.render(_with_methods(row)).split("\t") for row in rows]
    print_table(heading.replace("\\t", "\t").split("\t"), lines)


def print_objects(
    documents: Sequence[JsonObject], template: str, *, default: Callable[[], None]
) -> None:
    """Print whole objects: by template, as JSON lines, or by ``default``."""
    if not template:
        default()
    elif template == "json":
        print_lines([to_json(document) for document in documents])
    else:
        from kedge.cli.template import Template  # noqa: PLC0415 - rarely needed

        parsed = Template(template)
        print_lines([parsed.render(document) for document in documents])


def to_json(document: JsonObject) -> str:
    """Return one line of JSON as Go writes it."""
    import json  # noqa: PLC0415 - rarely needed

    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _texts_of(row: JsonObject) -> JsonObject:
    return {key: value for key, value in sorted(row.items()) if not isinstance(value, dict)}


def _with_methods(row: JsonObject) -> JsonObject:
    """Return a row for templates, which know ``{{.Label "key"}}``."""
    from kedge.cli.template import Method  # noqa: PLC0415 - rarely needed

    return {key: Method(v) if isinstance(v, dict) else v for key, v in sorted(row.items())}


def parse_filters(values: Sequence[str]) -> str:
    """Return the ``filters`` parameter for ``-f key=value`` flags; empty without any."""
    filters: dict[str, dict[str, Json]] = {}
    for text in values:
        key, _, content = text.partition("=")
        filters.setdefault(key.strip().lower(), {})[content.strip()] = True
    return quickjson.encode({**filters}).decode() if filters else ""


def check_filter(text: str) -> None:
    """Refuse a filter that is no ``key=value``.

    Raises:
        InvalidParameterError: It is none.
    """
    if "=" not in text:
        from kedge.errdefs import InvalidParameterError  # noqa: PLC0415 - only on a mistake

        raise InvalidParameterError("invalid argument: want a filter of the form name=value")
