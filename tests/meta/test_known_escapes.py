"""docs/reference/security.md names tests that exist, and they name what they try."""

import re
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| (?P<ids>[^|]+) \|[^|]+\| `(?P<file>[^`]+)` `(?P<test>[^`]+)` \|$")


def test_each_known_escape_has_its_test() -> None:
    lines = (_ROOT / "docs/reference/security.md").read_text().splitlines()
    rows = [row for row in map(_ROW.match, lines) if row is not None]
    assert len(rows) == sum(line.startswith("| CVE-") or "as a race" in line for line in lines)
    for row in rows:
        text = (_ROOT / "tests" / row["file"]).read_text()
        assert f"def {row['test']}(" in text, row["test"]
