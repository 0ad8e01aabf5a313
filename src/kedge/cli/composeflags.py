"""The flags every ``kedge compose`` verb has, before or after the verb's name."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kedge.cli.flags import Options, WordsError, many, value

if TYPE_CHECKING:
    from kedge.compose.project import Wanted

PROJECT_FLAGS: Final = (
    many("file", "FILE", "Compose file; later ones override earlier ones, - is stdin", short="f"),
    value("project-name", "NAME", "Name of the project", short="p"),
    many("env-file", "FILE", "Environment file instead of .env"),
    many("profile", "NAME", "Switch on services with this profile; '*' is all"),
    value("project-directory", "DIR", "Folder relative paths begin in"),
)
_LONG: Final = {"-f": "--file", "-p": "--project-name"}


def flags_after_verb(words: Sequence[str]) -> list[str]:
    """Return the words with the flags that stand before the verb behind it, in their long form."""
    taking = {f"--{flag.name}" for flag in PROJECT_FLAGS} | set(_LONG)
    moved: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in {"-h", "--help", "-"}:
        word = rest.pop(0)
        short = _LONG.get(word[:2]) if not word.startswith("--") else None
        if word in taking and rest:
            moved.append(f"{_LONG.get(word, word)}={rest.pop(0)}")
        elif short:
            moved.append(f"{short}={word[2:].removeprefix('=')}")
        else:
            moved.append(word)
    if not rest:
        raise WordsError(
            "'kedge compose' needs a command after its flags (see 'kedge compose --help')"
        )
    return [*rest[:1], *moved, *rest[1:]]


def wanted_project(options: Options) -> "Wanted":
    """Return what the flags say about the project."""
    from kedge.compose.project import Wanted  # noqa: PLC0415 - no other verb pays for it

    return Wanted(
        files=tuple(options.texts("file")),
        name=options.text("project-name"),
        env_files=tuple(options.texts("env-file")),
        profiles=tuple(options.texts("profile")),
        directory=options.text("project-directory"),
    )


def warn(text: str) -> None:
    """Tell the user something that is no failure."""
    sys.stderr.write(f"kedge: warning: {text}\n")
