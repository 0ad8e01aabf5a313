"""``# check=skip=A,B;error=true;experimental=A``: which checks run, and whether they are fatal.

The same text is a directive at the top, the argument BUILDKIT_DOCKERFILE_CHECK (which replaces the
directive), and a comment directly above one instruction, which then counts for that one only.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kedge.builder.checks.rules import RULES
from kedge.builder.dockerfile.directives import first_word
from kedge.builder.dockerfile.errors import DockerfileError, suggestion
from kedge.builder.findings import Rule

_ALL: Final = "all"
_KEYS: Final = ("skip", "error", "experimental")
_COMMENT: Final = re.compile(r"check\s*=\s*(.+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What is checked."""

    skipped: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    is_fatal: bool = False
    """Warnings end the build."""

    def wants(self, rule: Rule) -> bool:
        """Say whether ``rule`` is to be checked."""
        if rule.is_experimental and not self.experimental & {rule.name.lower(), _ALL}:
            return False
        return not self.skipped & {rule.name.lower(), _ALL}

    def with_comments(self, comments: Iterable[str]) -> "CheckOptions":
        """Return what counts for an instruction with these comment lines above it."""
        skipped = self.skipped
        for comment in comments:
            match = _COMMENT.fullmatch(comment.strip())
            if match is not None:
                skipped |= parse_check_options(first_word(match[1])).skipped
        return CheckOptions(skipped=skipped, experimental=self.experimental, is_fatal=self.is_fatal)


def parse_check_options(text: str) -> CheckOptions:
    """Return the options that ``text`` (without ``check=``) names.

    Raises:
        DockerfileError: A key or the value of ``error`` is unknown.
    """
    skipped: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    is_fatal = False
    for part in filter(None, (each.strip() for each in text.split(";"))):
        key, equals, value = (each.strip() for each in part.partition("="))
        if not equals or key not in _KEYS:
            raise DockerfileError(f"invalid check option {part}{suggestion(key, _KEYS)}")
        if key == "error":
            is_fatal = _is_true(value)
            continue
        names = frozenset(name.strip().lower() for name in value.split(","))
        if key == "skip":
            skipped = names
        else:
            experimental = names
    return CheckOptions(skipped=skipped, experimental=experimental, is_fatal=is_fatal)


def _is_true(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("1", "t", "true"):
        return True
    if lowered in ("0", "f", "false"):
        return False
    raise DockerfileError(f"failed to parse check option error={text}: want true or false")


def unknown_rules(options: CheckOptions) -> list[str]:
    """Return the names that are no rule, with the nearest one each."""
    known = [rule.name for rule in RULES]
    lowered = {name.lower() for name in known} | {_ALL}
    given = sorted((options.skipped | options.experimental) - lowered)
    return [f"{name}{suggestion(name, known)}" for name in given]
