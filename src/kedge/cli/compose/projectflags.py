"""The flags every ``kedge compose`` verb has, before the verb or, in their long form, after it."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kedge.cli.flags import Options, WordsError, grouped, integer, many, switch, value

if TYPE_CHECKING:
    from kedge.compose.project import Wanted

_SHORT: Final = {"f": "file", "p": "project-name"}
PROJECT_FLAGS: Final = grouped(
    "Project (also before the verb)",
    many("file", "FILE", "Compose file; later ones override earlier ones, - is stdin"),
    value("project-name", "NAME", "Name of the project"),
    many("env-file", "FILE", "Environment file instead of .env"),
    many("profile", "NAME", "Switch on services with this profile; '*' is all"),
    value("project-directory", "DIR", "Folder relative paths begin in"),
    value("progress", "MODE", "auto, tty, plain, json or quiet",
          complete="auto|tty|plain|json|quiet"),
    value("ansi", "WHEN", "Control characters: auto, never or always",
          complete="auto|never|always"),
    value("parallel", "N", "How much is done at once; -1 is without limit", check=integer),
    switch("dry-run", "Only say what would be done"),
    switch("compatibility", "Name containers with _ instead of -"),
    switch("all-resources", "Include networks and volumes no service uses"),
)  # fmt: skip
SHORT_PROJECT_FLAGS: Final = tuple(
    flag._replace(short={name: short for short, name in _SHORT.items()}.get(flag.name, ""))
    for flag in PROJECT_FLAGS
)
"""The same for a verb whose own flags leave ``-f`` and ``-p`` free."""


def flags_after_verb(words: Sequence[str]) -> list[str]:
    """Return the words with the flags that stand before the verb behind it, in their long form."""
    taking = {f"--{flag.name}" for flag in PROJECT_FLAGS if flag.metavar}
    moved: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in {"-h", "--help", "-"}:
        word = rest.pop(0)
        long = f"--{_SHORT[word[1]]}" if word[1:2] in _SHORT else ""
        if long and len(word) > 2:
            moved.append(f"{long}={word[2:].removeprefix('=')}")
        elif (long or word in taking) and rest:
            moved.append(f"{long or word}={rest.pop(0)}")
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
        all_resources=options.on("all-resources"),
    )


def warn(text: str) -> None:
    """Tell the user something that is no failure."""
    sys.stderr.write(f"kedge: warning: {text}\n")
