"""One way to print a list: a table, ``-q``, a ``--format`` template, ``table …`` or JSON lines."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kedge.cli.output import print_lines, print_table
from kedge.cli.template import Template
from kedge.lib.jsontypes import Json, JsonObject

_FIELD: Final = re.compile(r"\{\{[^}]*?\.(\w+)[^}]*\}\}")


def print_listing(
    rows: Sequence[Mapping[str, str]],
    *,
    headers: Mapping[str, str],
    columns: Sequence[str],
    template: str = "",
    quiet: str = "",
) -> None:
    """Print ``rows``.

    Args:
        rows: One mapping of field name to text each.
        headers: Heading of each field.
        columns: Fields of the default table, in order.
        template: Value of ``--format``; empty for the table.
        quiet: The field that is printed alone with ``-q``; empty when not asked for.
    """
    if quiet:
        print_lines([row[quiet] for row in rows])
    elif template == "json":
        print_lines([json.dumps(dict(row), ensure_ascii=False) for row in rows])
    elif template.startswith("table"):
        text = template.removeprefix("table").strip()
        if not text:
            print_listing(rows, headers=headers, columns=columns)
            return
        heading = _FIELD.sub(lambda match: headers.get(match[1], match[1].upper()), text)
        parsed = Template(text)
        lines = [parsed.render(_as_json(row)).split("\t") for row in rows]
        print_table(heading.replace("\\t", "\t").split("\t"), lines)
    elif template:
        parsed = Template(template)
        print_lines([parsed.render(_as_json(row)) for row in rows])
    else:
        print_table(
            [headers[column] for column in columns], [[row[c] for c in columns] for row in rows]
        )


def print_objects(
    documents: Sequence[JsonObject], template: str, *, default: Callable[[], None]
) -> None:
    """Print whole objects: by template, as JSON lines, or by ``default``."""
    if not template:
        default()
    elif template == "json":
        print_lines([json.dumps(document, ensure_ascii=False) for document in documents])
    else:
        parsed = Template(template)
        print_lines([parsed.render(document) for document in documents])


def _as_json(row: Mapping[str, str]) -> Json:
    return dict(row)
