"""What the short-lived processes import: every module costs every user on every call.

The check runs a bare interpreter (``-I -S``) and looks at what is loaded afterwards, so it also
sees what an allowed module drags in.
"""

import subprocess
import sys

import pytest

from tests.meta.repository import SOURCE

# typing, enum and re come with one another; signal and socket need enum and selectors.
CORE = """
    abc array codecs collections collections.abc contextlib copyreg encodings encodings.aliases
    encodings.utf_8 enum errno functools genericpath io itertools keyword marshal math operator os
    os.path posix posixpath re re._casefix re._compiler re._constants re._parser reprlib select
    selectors signal socket stat sys time types typing typing.io typing.re warnings zipimport
    builtins heapq
"""
JSON = "json json.decoder json.encoder json.scanner"
SYSTEM = "ctypes ctypes._endian fcntl gc resource struct termios tty"
RUNTIME = f"{CORE} {JSON} {SYSTEM} binascii"
COMMAND_LINE = "argparse gettext importlib importlib._bootstrap importlib._bootstrap_external"

# All that the verbs of every day may have: what the interpreter starts with, and `importlib`.
LEAN = """
    abc builtins codecs encodings encodings.aliases encodings.utf_8 genericpath importlib
    importlib._bootstrap importlib._bootstrap_external io marshal os os.path posix posixpath select
    stat sys time warnings zipimport
"""
LEAN_SYSTEM = "binascii ctypes ctypes._endian errno fcntl gc math resource select struct types"
LEAN_VERBS = (
    *("attach", "containerprune", "create", "df", "diff", "each", "execute"),
    *("globalflags", "history", "imageprune", "images", "info", "inspect", "kill", "logs"),
    *("networkconnect", "networkprune", "networkrm", "pause", "port", "ps", "rename"),
    *("restart", "rm", "rmi", "run", "search", "session", "start", "stats", "stop"),
    *("systemprune", "top", "unpause", "update", "volumecreate", "volumels"),
    *("volumeprune", "volumerm", "wait"),
)

BUDGETS = {
    "kedge.shim.spawner": f"{CORE} {JSON} {SYSTEM}",
    "kedge.shim.runtime_task": RUNTIME,
    "kedge.shim.monitor": f"{CORE} {JSON} {SYSTEM}",
    # What `kedge-runtime run` loads before it makes a container, and the table of commands.
    "kedge.runtime.life_commands": f"{LEAN} {LEAN_SYSTEM}",
    "kedge.runtime.main": f"{LEAN} errno gc",
    "kedge.runtime.exec_command": RUNTIME,
    "kedge.runtime.look_commands": RUNTIME,
    "kedge.runtime.resource_commands": RUNTIME,
    "kedge.client.http": LEAN,
    "kedge.cli.main": LEAN,
    **{f"kedge.cli.{verb}": LEAN for verb in LEAN_VERBS},
    "kedge.cli.build": f"{CORE} {JSON} {COMMAND_LINE} base64 binascii struct termios tty",
}
# Said by name, so that a budget is not widened for them without a thought.
HEAVY = {
    *("asyncio", "ssl", "http", "http.client", "logging", "dataclasses", "subprocess", "urllib"),
    *("urllib.request", "email", "inspect", "pathlib", "threading", "tempfile", "shutil"),
    *("msgspec", "rich", "urllib3", "sqlite3", "decimal", "datetime", "uuid", "platform"),
}


def loaded_by(module: str) -> set[str]:
    """Public modules that importing ``module`` adds to a bare interpreter, without our own."""
    code = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
import {module}
print(*sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True
    )
    return {
        name
        for name in result.stdout.split()
        if not name.startswith(("_", "kedge", "encodings")) and "._" not in name
    }


@pytest.mark.parametrize("module", list(BUDGETS))
def test_nothing_beyond_the_budget_is_imported(module: str) -> None:
    loaded = loaded_by(module)
    heavy, beyond = loaded & HEAVY, loaded - set(BUDGETS[module].split())
    assert not heavy, sorted(heavy)
    assert not beyond, sorted(beyond)


def test_no_budget_holds_a_heavy_module() -> None:
    granted = {name for budget in BUDGETS.values() for name in budget.split()}
    assert granted & HEAVY == set()


def test_the_package_itself_imports_nothing_but_words() -> None:
    assert loaded_by("kedge") == loaded_by("sys")


def test_names_do_not_wait_for_the_modules_of_the_services() -> None:
    """An engine that comes back answers names when it has read these; the rest comes later."""
    code = "import kedge.daemon.main, sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    loaded = result.stdout.split()
    assert "kedge.network.dns.server" in loaded
    later = ("kedge.server", "kedge.distribution", "kedge.builder.builder", "urllib3")
    assert [name for name in loaded if name.startswith(later)] == []
