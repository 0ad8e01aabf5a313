"""The checks of what a stage does: variables, secrets, what is given twice, what is ignored.

Each instruction is lowered as in a build, so that the next one is checked with the variables that
then stand; nothing is run.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kedge.builder.checks import rules
from kedge.builder.checks.options import CheckOptions
from kedge.builder.dockerfile.errors import DockerfileError, nearest
from kedge.builder.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Run,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from kedge.builder.dockerfile.shell import ShellLexer
from kedge.builder.findings import CheckWarning, Rule
from kedge.builder.lowering import Scope, lower
from kedge.builder.state import StageState
from kedge.errdefs import ForbiddenError, NotSupportedError
from kedge.lib.ignorefile import IgnoreMatcher, clean_path

_WORDS: Final = "apikey|auth|credentials?|key|password|pword|passwd|secret|token"
_SECRET: Final = re.compile(f"(?:_|^)(?:{_WORDS})(?:_|$)", re.IGNORECASE)
_HARMLESS: Final = re.compile(r"(?:_|^)public(?:_|$)|_(?:file|version)$", re.IGNORECASE)
_EVERYTHING: Final = frozenset({"*", "**"})


@dataclass(slots=True, kw_only=True)
class CheckedStage:
    """A stage that has been walked through."""

    state: StageState
    is_known: bool
    """The variables of its base image are known."""
    has_workdir: bool = False


class StageChecks:
    """Walks through one stage."""

    def __init__(
        self,
        start: CheckedStage,
        scope: Scope,
        options: CheckOptions,
        ignored: IgnoreMatcher | None,
    ) -> None:
        """Begin with what the base is.

        Args:
            start: Changed on the way.
            scope: What the build has beside the stage.
            options: Which checks are wanted.
            ignored: What the ignore file leaves out; None without a context.
        """
        self._stage = start
        self._scope = scope
        self._options = options
        self._ignored = ignored
        self._lexer = ShellLexer(escape=scope.escape)
        self._only_once: dict[str, Command] = {}

    def walk(self, commands: tuple[Command, ...]) -> Iterator[CheckWarning]:
        """Yield what is found.

        Raises:
            DockerfileError: An instruction cannot be carried out.
        """
        for command in commands:
            yield from self._undefined(command)
            yield from self._of_command(command)
            try:
                lower(command, self._stage.state, self._scope)
            except (NotSupportedError, ForbiddenError):
                # What this engine does not run is understood all the same.
                continue
            except DockerfileError:
                # With the variables of the base image it may be right.
                if self._stage.is_known:
                    raise

    def _warn(self, rule: Rule, command: Command, detail: str) -> Iterator[CheckWarning]:
        origin = command.origin
        if self._options.with_comments(origin.comments).wants(rule):
            yield CheckWarning(rule=rule, detail=detail, line=origin.line, end_line=origin.end_line)

    def _of_command(self, command: Command) -> Iterator[CheckWarning]:
        match command:
            case Env():
                yield from self._secrets(command, "ENV", [pair.name for pair in command.pairs])
                yield from self._legacy(command, "ENV")
            case Arg():
                yield from self._secrets(command, "ARG", [name.name for name in command.names])
            case Label():
                yield from self._legacy(command, "LABEL")
            case Cmd():
                yield from self._json(command, "CMD")
            case Entrypoint():
                yield from self._json(command, "ENTRYPOINT")
            case Healthcheck():
                yield from self._once(command, "HEALTHCHECK")
            case Workdir():
                yield from self._workdir(command)
            case Expose():
                yield from self._expose(command)
            case Copy() | Add():
                yield from self._copy(command)
            case _:
                pass

    def _secrets(self, command: Command, word: str, names: list[str]) -> Iterator[CheckWarning]:
        for name in names:
            if _SECRET.search(name) and not _HARMLESS.search(name):
                detail = f'Do not use ARG or ENV instructions for sensitive data ({word} "{name}")'
                yield from self._warn(rules.SECRETS_USED_IN_ARG_OR_ENV, command, detail)

    def _legacy(self, command: Env | Label, word: str) -> Iterator[CheckWarning]:
        if any(pair.is_legacy for pair in command.pairs):
            detail = (
                f'"{word} key=value" should be used instead of legacy "{word} key value" format'
            )
            yield from self._warn(rules.LEGACY_KEY_VALUE_FORMAT, command, detail)

    def _json(self, command: Cmd | Entrypoint, word: str) -> Iterator[CheckWarning]:
        yield from self._once(command, word)
        if command.command.is_shell and not self._stage.state.config.shell:
            detail = (
                f"JSON arguments recommended for {word} to prevent unintended behavior related "
                "to OS signals"
            )
            yield from self._warn(rules.JSON_ARGS_RECOMMENDED, command, detail)

    def _once(self, command: Command, word: str) -> Iterator[CheckWarning]:
        earlier = self._only_once.get(word)
        self._only_once[word] = command
        if earlier is not None:
            detail = (
                f"Multiple {word} instructions should not be used in the same stage because only "
                "the last one will be used"
            )
            yield from self._warn(rules.MULTIPLE_INSTRUCTIONS_DISALLOWED, earlier, detail)

    def _workdir(self, command: Workdir) -> Iterator[CheckWarning]:
        path = self._expanded(command.path)
        if not path.startswith("/") and not self._stage.has_workdir:
            detail = (
                f'Relative workdir "{path}" can have unexpected results if the base image changes'
            )
            yield from self._warn(rules.WORKDIR_RELATIVE_PATH, command, detail)
        self._stage.has_workdir = True

    def _expose(self, command: Expose) -> Iterator[CheckWarning]:
        for port in command.ports:
            place, _, protocol = port.partition("/")
            if protocol != protocol.lower():
                detail = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
                yield from self._warn(rules.EXPOSE_PROTO_CASING, command, detail)
            if ":" in place and "$" not in place:
                detail = (
                    "EXPOSE instruction should not define an IP address or host-port mapping, "
                    f"found '{port}'"
                )
                yield from self._warn(rules.EXPOSE_INVALID_FORMAT, command, detail)

    def _copy(self, command: Copy | Add) -> Iterator[CheckWarning]:
        if self._ignored is None or (isinstance(command, Copy) and command.from_):
            return
        word = "Copy" if isinstance(command, Copy) else "Add"
        for source in command.transfer.sources:
            path = self._expanded(source)
            if "://" not in path and _is_ignored(self._ignored, path):
                detail = f'Attempting to {word} file "{path}" that is excluded by .dockerignore'
                yield from self._warn(rules.COPY_IGNORED_FILE, command, detail)

    def _undefined(self, command: Command) -> Iterator[CheckWarning]:
        if not self._stage.is_known:
            return
        state = self._stage.state
        values = state.variables()
        missing: set[str] = set()
        for text in _expanded_texts(command):
            missing |= self._unmatched(text, values)
        for name in sorted(missing - set(state.args)):
            near = nearest(name, values)
            hint = f" (did you mean ${near}?)" if near else ""
            detail = f"Usage of undefined variable '${name}'{hint}"
            yield from self._warn(rules.UNDEFINED_VAR, command, detail)

    def _unmatched(self, text: str, values: Mapping[str, str]) -> frozenset[str]:
        try:
            return self._lexer.expand(text, values).unmatched
        except DockerfileError:
            # It ends the build, with its line.
            return frozenset()

    def _expanded(self, text: str) -> str:
        try:
            return self._lexer.word(text, self._stage.state.variables())
        except DockerfileError:
            return text


def _is_ignored(ignored: IgnoreMatcher, path: str) -> bool:
    cleaned = clean_path(path).lstrip("/") or "."
    if cleaned == ".":
        texts = {pattern.text for pattern in ignored.patterns}
        return not ignored.has_exceptions and bool(texts & _EVERYTHING)
    return ignored.matches(cleaned)


def _expanded_texts(command: Command) -> Iterator[str]:  # noqa: C901 - one case each
    """Yield the words of an instruction in which variables are expanded."""
    match command:
        case Env() | Label():
            for pair in command.pairs:
                yield from (pair.name, pair.value)
        case Arg():
            yield from (name.default or "" for name in command.names)
        case Copy() | Add():
            transfer = command.transfer
            yield from (*transfer.sources, transfer.destination, transfer.owner, transfer.mode)
            yield from transfer.exclude
        case Workdir():
            yield command.path
        case User():
            yield command.user
        case Volume():
            yield from command.paths
        case StopSignal():
            yield command.signal
        case Expose():
            yield from command.ports
        case Run():
            yield from command.mounts
        case _:
            pass
