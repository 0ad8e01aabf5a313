"""The checks that look at every line, whatever is built: names, casing, comments, FROM."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from kedge.builder.checks import rules
from kedge.builder.checks.options import CheckOptions
from kedge.builder.dockerfile.errors import DockerfileError, nearest
from kedge.builder.dockerfile.flags import FlagKind, parse_flags
from kedge.builder.dockerfile.shell import ShellLexer
from kedge.builder.dockerfile.syntax import Document, Node
from kedge.builder.findings import CheckWarning, Rule
from kedge.errdefs import InvalidParameterError
from kedge.oci.platforms import parse_platform
from kedge.oci.references import parse_reference

_RESERVED: Final = frozenset({"context", "scratch"})
_TARGET_PLATFORM: Final = re.compile(r"\$(?:TARGETPLATFORM|\{TARGETPLATFORM\})")


class Arguments(NamedTuple):
    """What FROM may use."""

    scope: Mapping[str, str]
    """Values, those of ``--build-arg`` among them."""
    defaults: Mapping[str, str]
    """Values without any ``--build-arg``."""
    declared: frozenset[str]
    """Every name, those without a value too."""


class FileChecks:
    """One Dockerfile, node by node."""

    def __init__(self, document: Document, options: CheckOptions) -> None:
        """Prepare to check the nodes of ``document``."""
        self._document = document
        self._options = options
        self._lexer = ShellLexer(escape=document.escape)

    def of_nodes(self, nodes: Sequence[Node]) -> list[CheckWarning]:
        """Return what is found in nodes that could be understood."""
        found: list[CheckWarning] = []
        for node in nodes:
            found += self._of_node(node)
        found += self._stage_names(nodes)
        return found

    def of_casing(self) -> list[CheckWarning]:
        """Return the instructions that are not spelled as most of the others."""
        stages = self._stage_nodes()
        lower = sum(node.keyword == node.keyword.lower() for node in stages)
        upper = sum(node.keyword == node.keyword.upper() for node in stages)
        wanted, word = (str.lower, "lowercase") if lower > upper else (str.upper, "uppercase")
        found: list[CheckWarning] = []
        for node in stages:
            if node.keyword != wanted(node.keyword):
                found += self._warn(
                    rules.CONSISTENT_INSTRUCTION_CASING,
                    node,
                    f"Command '{node.keyword}' should match the case of the command majority "
                    f"({word})",
                )
        return found

    def of_lines(self) -> list[CheckWarning]:
        """Return the instructions that have an empty line inside."""
        if not self._options.wants(rules.NO_EMPTY_CONTINUATION):
            return []
        return [
            CheckWarning(
                rule=rules.NO_EMPTY_CONTINUATION,
                detail="Empty continuation line",
                line=line,
                end_line=line,
            )
            for line, _ in self._document.empty_continuations
        ]

    def of_bases(self, arguments: Arguments) -> list[CheckWarning]:
        """Return what is wrong with the images and platforms of FROM."""
        found: list[CheckWarning] = []
        for node in self._document.nodes:
            if node.name == "FROM":
                flags = parse_flags(node.flags, {"platform": FlagKind.TEXT})
                found += self._platform(node, flags.text("platform"))
                found += self._undefined(node, flags.text("platform"), arguments)
                found += self._default(node, arguments)
        return found

    def _warn(self, rule: Rule, node: Node, detail: str) -> Iterator[CheckWarning]:
        if self._options.with_comments(node.comments).wants(rule):
            yield CheckWarning(
                rule=rule, detail=detail, line=node.start_line, end_line=node.end_line
            )

    def _stage_nodes(self) -> list[Node]:
        nodes = self._document.nodes
        first = next((i for i, node in enumerate(nodes) if node.name == "FROM"), len(nodes))
        return list(nodes[first:])

    def _of_node(self, node: Node) -> Iterator[CheckWarning]:
        if node.name == "FROM":
            yield from self._from(node)
        elif node.name == "MAINTAINER":
            detail = "Maintainer instruction is deprecated in favor of using label"
            yield from self._warn(rules.MAINTAINER_DEPRECATED, node, detail)
        elif node.name == "ARG":
            names = [word.partition("=")[0] for word in node.arguments]
            yield from self._description(node, "ARG", names)

    def _from(self, node: Node) -> Iterator[CheckWarning]:
        if len(node.arguments) != 3:
            return
        word, name = node.arguments[1:]
        if name != name.lower():
            detail = f"Stage name '{name}' should be lowercase"
            yield from self._warn(rules.STAGE_NAME_CASING, node, detail)
        if not _same_casing(node.keyword, word):
            detail = f"'{word}' and '{node.keyword}' keywords' casing do not match"
            yield from self._warn(rules.FROM_AS_CASING, node, detail)
        yield from self._description(node, "FROM", [name.lower()])

    def _description(self, node: Node, what: str, names: Sequence[str]) -> Iterator[CheckWarning]:
        if not node.comments or node.comments[-1].split(" ")[0] in names:
            return
        name = names[0] if len(names) == 1 else "<arg_key>"
        detail = f"Comment for {what} should follow the format: `# {name} <description>`"
        yield from self._warn(rules.INVALID_DEFINITION_DESCRIPTION, node, detail)

    def _stage_names(self, nodes: Sequence[Node]) -> Iterator[CheckWarning]:
        seen: set[str] = set()
        for node in nodes:
            if node.name != "FROM" or len(node.arguments) != 3:
                continue
            name = node.arguments[2].lower()
            if name in _RESERVED:
                detail = f'Stage name should not use the same name as reserved stage "{name}"'
                yield from self._warn(rules.RESERVED_STAGE_NAME, node, detail)
            if name in seen:
                detail = f'Duplicate stage name "{name}", stage names should be unique'
                yield from self._warn(rules.DUPLICATE_STAGE_NAME, node, detail)
            seen.add(name)

    def _platform(self, node: Node, platform: str) -> Iterator[CheckWarning]:
        if _TARGET_PLATFORM.fullmatch(platform):
            detail = (
                f"Setting platform to predefined {platform} in FROM is redundant as this is the "
                "default behavior"
            )
            yield from self._warn(rules.REDUNDANT_TARGET_PLATFORM, node, detail)
        if not platform or "$" in platform:
            return
        try:
            parsed = parse_platform(platform)
        except InvalidParameterError:
            return
        name = node.arguments[2].lower() if len(node.arguments) == 3 else ""
        if parsed.os not in name and parsed.architecture not in name:
            detail = f'FROM --platform flag should not use constant value "{platform}"'
            yield from self._warn(rules.FROM_PLATFORM_FLAG_CONST_DISALLOWED, node, detail)

    def _undefined(self, node: Node, platform: str, arguments: Arguments) -> Iterator[CheckWarning]:
        missing: set[str] = set()
        for text in (node.arguments[0], platform):
            missing |= self._unmatched(text, arguments.scope)
        for name in sorted(missing - arguments.declared):
            near = nearest(name, arguments.declared)
            hint = f" (did you mean {near}?)" if near else ""
            detail = f"FROM argument '{name}' is not declared{hint}"
            yield from self._warn(rules.UNDEFINED_ARG_IN_FROM, node, detail)

    def _unmatched(self, text: str, scope: Mapping[str, str]) -> frozenset[str]:
        try:
            return self._lexer.expand(text, scope).unmatched
        except DockerfileError:
            return frozenset()

    def _default(self, node: Node, arguments: Arguments) -> Iterator[CheckWarning]:
        base = node.arguments[0]
        if "$" not in base:
            return
        try:
            parse_reference(self._lexer.word(base, arguments.defaults))
        except DockerfileError:
            return
        except InvalidParameterError:
            detail = f"Default value for ARG {base} results in empty or invalid base image name"
            yield from self._warn(rules.INVALID_DEFAULT_ARG_IN_FROM, node, detail)


def _same_casing(keyword: str, word: str) -> bool:
    """Say whether ``as`` is spelled as FROM is; a mixed FROM has its own check."""
    if keyword == keyword.lower():
        return word == word.lower()
    return keyword != keyword.upper() or word == word.upper()
