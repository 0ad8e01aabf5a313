"""Checks, outline and targets as Docker prints them: text and JSON."""

import base64
from collections.abc import Iterable, Sequence
from typing import Final

from kedge.builder.checks.checking import CheckReport
from kedge.builder.checks.outline import Argument, Needed, Outline, Place, Target
from kedge.builder.findings import CheckWarning
from kedge.lib.jsontypes import Json, JsonObject

_RULER: Final = "-" * 20
_GAP: Final = 3


def check_text(report: CheckReport, text: str, filename: str) -> str:
    """Return the warnings with the lines they mean, and the error that ended the file."""
    lines = text.split("\n")
    parts: list[str] = []
    for warning in report.warnings:
        page = f" - {warning.rule.url}" if warning.rule.url else ""
        parts.append(f"\nWARNING: {warning.rule.name}{page}\n{warning.detail}\n")
        parts.append(source_excerpt(lines, filename, warning.line, warning.end_line))
    if report.error is not None:
        parts.append(f"\nERROR: {report.error}\n")
        parts.append(source_excerpt(lines, filename, report.error.line, report.error.line))
    return "".join(parts)


def check_summary(report: CheckReport) -> str:
    """Return the one line that says how a check went."""
    count = len(report.warnings)
    if report.error is not None:
        return "Check failed: the Dockerfile cannot be built."
    if not count:
        return "Check complete, no warnings found."
    return f"Check complete, {count} {'warning has' if count == 1 else 'warnings have'} been found!"


def source_excerpt(lines: Sequence[str], filename: str, line: int, end_line: int) -> str:
    """Return lines of a file with those around them; empty where there is no such line."""
    if not 1 <= line <= len(lines):
        return ""
    first = line
    last = min(end_line, len(lines))
    wanted = 4 if last == first else 2
    added = 0
    start, end = first, last
    # One before, one after, until there is enough to see or nothing more to show.
    while added < wanted:
        before = added
        if start > 1:
            start -= 1
            added += 1
        if end < len(lines):
            end += 1
            added += 1
        if added == before:
            break
    shown = [f"{filename}:{first}", _RULER]
    for number in range(start, end + 1):
        mark = ">>>" if first <= number <= last else "   "
        shown.append(f" {number:3} | {mark} {lines[number - 1]}")
    return "\n".join([*shown, _RULER, ""])


def check_document(report: CheckReport, text: str, filename: str) -> JsonObject:
    """Return the JSON of BuildKit's ``frontend.lint``."""
    document: JsonObject = {
        "warnings": [_warning(warning) for warning in report.warnings],
        "sources": [
            {
                "filename": filename,
                "language": "Dockerfile",
                "data": _encoded(text),
            }
        ],
    }
    if report.error is not None:
        error: JsonObject = {"message": str(report.error)}
        if report.error.line:
            error["location"] = _location(Place(line=report.error.line, end_line=report.error.line))
        document["buildError"] = error
    return document


def _warning(warning: CheckWarning) -> JsonObject:
    document: JsonObject = {
        "ruleName": warning.rule.name,
        "description": warning.rule.description,
    }
    if warning.rule.url:
        document["url"] = warning.rule.url
    document["detail"] = warning.detail
    document["location"] = _location(Place(line=warning.line, end_line=warning.end_line))
    return document


def _location(place: Place) -> JsonObject:
    return {"ranges": [{"start": {"line": place.line}, "end": {"line": place.end_line}}]}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode(errors="surrogateescape")).decode()


def outline_text(outline: Outline) -> str:
    """Return the tables of an outline."""
    parts: list[str] = []
    if outline.name or outline.description:
        rows = [("TARGET:", outline.name or "(default)")]
        rows += [("DESCRIPTION:", outline.description)] if outline.description else []
        parts.append(_table(rows))
    if outline.arguments:
        named = [(each.name, each.value, each.description) for each in outline.arguments]
        parts.append(_table([("BUILD ARG", "VALUE", "DESCRIPTION"), *named]))
    for head, needed in (("SECRET", outline.secrets), ("SSH", outline.agents)):
        if needed:
            rows = [(each.name, "true" if each.is_required else "") for each in needed]
            parts.append(_table([(head, "REQUIRED"), *rows]))
    return "\n".join(parts)


def outline_document(outline: Outline, text: str) -> JsonObject:
    """Return the JSON of BuildKit's ``frontend.outline``."""
    document: JsonObject = {}
    for name, value in (("name", outline.name), ("description", outline.description)):
        if value:
            document[name] = value
    lists: tuple[tuple[str, list[Json]], ...] = (
        ("args", [_argument(each) for each in outline.arguments]),
        ("secrets", [_needed(each) for each in outline.secrets]),
        ("ssh", [_needed(each) for each in outline.agents]),
        ("cache", [_cache(each) for each in outline.caches]),
    )
    document.update((name, values) for name, values in lists if values)
    document["sources"] = [_encoded(text)]
    return document


def _argument(argument: Argument) -> JsonObject:
    document: JsonObject = {"name": argument.name}
    if argument.description:
        document["description"] = argument.description
    if argument.value:
        document["value"] = argument.value
    return {**document, "location": _location(argument.place)}


def _needed(needed: Needed) -> JsonObject:
    required: JsonObject = {"required": True} if needed.is_required else {}
    return {"name": needed.name, **required, "location": _location(needed.place)}


def _cache(needed: Needed) -> JsonObject:
    return {"ID": needed.name, "location": _location(needed.place)}


def targets_text(targets: Iterable[Target]) -> str:
    """Return the table of the stages that can be asked for."""
    rows = [("TARGET", "DESCRIPTION")]
    for target in targets:
        if target.name or target.is_default:
            words = [target.name] if target.name else []
            words += ["(default)"] if target.is_default else []
            rows.append((" ".join(words), target.description))
    return _table(rows)


def targets_document(targets: Iterable[Target], text: str) -> JsonObject:
    """Return the JSON of BuildKit's ``frontend.targets``."""
    return {"targets": [_target(each) for each in targets], "sources": [_encoded(text)]}


def _target(target: Target) -> JsonObject:
    document: JsonObject = {"name": target.name} if target.name else {}
    if target.is_default:
        document["default"] = True
    for name, value in (
        ("description", target.description),
        ("base", target.base),
        ("platform", target.platform),
    ):
        if value:
            document[name] = value
    return {**document, "location": _location(target.place)}


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return columns that are as wide as their longest cell."""
    widths = [max(map(len, column)) + _GAP for column in zip(*rows, strict=True)]
    lines = (
        "".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + row[-1]
        for row in rows
    )
    return "\n".join([*lines, ""])
