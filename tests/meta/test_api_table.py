"""The page of routes says what the server serves."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_page_of_routes_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/api-table", "--check"], check=False)
    assert done.returncode == 0, "docs/reference/api.md is old: run scripts/api-table"
