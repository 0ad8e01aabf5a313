"""Image names: the grammar of references and Docker Hub's defaults.

Vocabulary and error texts follow distribution/reference. `parse_reference` takes what a user
types (``redis``); `parse_strict` takes the grammar alone and adds nothing. Standard library
only, because the client imports it. Which host a domain means is `kedge.distribution`'s.
"""

import re
from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError
from kedge.oci.digests import is_digest, parse_digest

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
_LEGACY_DOMAIN: Final = "index.docker.io"
_OFFICIAL_PREFIX: Final = "library/"
_NAME_MAX: Final = 255
# No valid reference comes near this; a bound keeps the regular expressions' work bounded too.
_INPUT_MAX: Final = 4096

_COMPONENT: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH: Final = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_DOMAIN_COMPONENT: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN: Final = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG: Final = r"\w[\w.-]{0,127}"
_DIGEST: Final = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_NAME_PATTERN = re.compile(rf"(?:({_DOMAIN})/)?({_PATH})", re.ASCII)
_REFERENCE_PATTERN = re.compile(
    rf"((?:{_DOMAIN}/)?{_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?", re.ASCII
)
_REPOSITORY_PATTERN = re.compile(_PATH, re.ASCII)
_TAG_PATTERN = re.compile(_TAG, re.ASCII)
_DIGEST_PATTERN = re.compile(_DIGEST, re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


class Reference(NamedTuple):
    """An image name taken apart; absent parts are empty strings."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The repository: domain and path."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def familiar_name(self) -> str:
        """The repository as ``docker images`` shows it: without Docker Hub's defaults."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL_PREFIX)
        # Only single-component official names may be shortened: library/foo/bar is not foo/bar.
        if "/" not in short:
            return short
        # compat: Docker shortens docker.io/0.0/x to 0.0/x, which then names another host.
        return self.name if _is_host(self.path.partition("/")[0]) else self.path

    def canonical(self) -> str:
        """Return the full form, which names the same thing everywhere."""
        return self.name + self._suffix()

    def familiar(self) -> str:
        """Return the short form, which a user would type."""
        return self.familiar_name + self._suffix()

    def with_tag(self, tag: str) -> "Reference":
        """Return this name with ``tag``.

        Raises:
            InvalidParameterError: ``tag`` is not a tag.
        """
        if _TAG_PATTERN.fullmatch(tag) is None:
            raise InvalidParameterError("invalid tag format")
        return self._replace(tag=tag)

    def with_digest(self, digest: str) -> "Reference":
        """Return this name with ``digest``.

        Raises:
            InvalidParameterError: ``digest`` is not a digest.
        """
        if _DIGEST_PATTERN.fullmatch(digest) is None:
            raise InvalidParameterError("invalid digest format")
        return self._replace(digest=digest)

    def with_default_tag(self) -> "Reference":
        """Return this name with ``latest`` where it has neither tag nor digest."""
        return self if self.tag or self.digest else self._replace(tag=DEFAULT_TAG)

    def repository(self) -> "Reference":
        """Return the name alone, without tag and digest."""
        return Reference(self.domain, self.path)

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag


def parse_strict(text: str) -> Reference:
    """Parse the grammar without any default; the domain may be empty.

    Raises:
        InvalidParameterError: With distribution/reference's text for the reason.
    """
    match = _REFERENCE_PATTERN.fullmatch(text) if len(text) <= _INPUT_MAX else None
    if match is None:
        if not text:
            raise InvalidParameterError("repository name must have at least one component")
        if len(text) <= _INPUT_MAX and _REFERENCE_PATTERN.fullmatch(text.lower()):
            raise InvalidParameterError("repository name must be lowercase")
        raise InvalidParameterError("invalid reference format")
    name, tag, digest = match.groups()
    domain, path = _split_name(name)
    return Reference(domain, path, tag or "", parse_digest(digest) if digest else "")


def parse_reference(text: str) -> Reference:
    """Parse what a user may type, with Docker Hub's defaults filled in; no tag is added.

    Raises:
        InvalidParameterError: With Docker's text for the reason.
    """
    if _IDENTIFIER.fullmatch(text):
        raise InvalidParameterError(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, remainder = _split_docker_domain(text)
    remote = remainder.partition(":")[0]
    if remote.lower() != remote:
        raise InvalidParameterError(
            f"invalid reference format: repository name ({remote}) must be lowercase"
        )
    return parse_strict(f"{domain}/{remainder}")


def parse_docker_reference(text: str) -> Reference:
    """Parse as `parse_reference`, add ``latest`` where nothing is said, and let a digest win.

    A name with a tag and a digest names the digest: the tag is dropped.
    """
    reference = parse_reference(text).with_default_tag()
    return reference._replace(tag="") if reference.digest else reference


def parse_any_reference(text: str) -> Reference | str:
    """Parse a name, a digest or a bare 64-digit image id; ids come back as ``sha256:…``."""
    if _IDENTIFIER.fullmatch(text):
        return f"sha256:{text}"
    if is_digest(text):
        return text
    return parse_reference(text)


def parse_canonical(text: str) -> Reference:
    """Parse a name that must already be in full form.

    Raises:
        InvalidParameterError: A default would have to be filled in.
    """
    reference = parse_reference(text)
    if reference.canonical() != text:
        raise InvalidParameterError("repository name must be canonical")
    return reference


def parse_name(text: str) -> Reference:
    """Parse a repository name that has neither tag nor digest, without defaults.

    A first component without dot, colon or capital that the grammar would allow as a domain is
    taken as one, as upstream's ``WithName`` does.
    """
    if _NAME_PATTERN.fullmatch(text) is None:
        raise InvalidParameterError("invalid reference format")
    return Reference(*_split_name(text))


def is_repository(text: str) -> bool:
    """Tell whether ``text`` can name a repository within a registry (distribution-spec, 4)."""
    return len(text) <= _NAME_MAX and _REPOSITORY_PATTERN.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Tell whether ``text`` can be a tag."""
    return _TAG_PATTERN.fullmatch(text) is not None


def familiar_match(pattern: str, reference: Reference) -> bool:
    """Tell whether a user's glob names ``reference``, with or without its tag and digest.

    Raises:
        InvalidParameterError: ``pattern`` is not a glob in Go's ``path.Match`` grammar.
    """
    expression = _translate_glob(pattern)
    return any(
        re.fullmatch(expression, text, re.DOTALL)
        for text in (reference.familiar(), reference.familiar_name)
    )


def _split_name(name: str) -> tuple[str, str]:
    match = _NAME_PATTERN.fullmatch(name)
    if match is None:
        raise InvalidParameterError("invalid reference format")
    domain, path = match.groups()
    if len(path) > _NAME_MAX:
        raise InvalidParameterError("repository name must not be more than 255 characters")
    return domain or "", path


def _is_host(first: str) -> bool:
    """Tell whether Docker takes the first component of a name for a host."""
    return first == "localhost" or "." in first or ":" in first or first.lower() != first


def _split_docker_domain(text: str) -> tuple[str, str]:
    """Divide at the first slash if what precedes it can only be a host (Docker's rule)."""
    first, separator, rest = text.partition("/")
    if not separator:
        return DEFAULT_DOMAIN, _OFFICIAL_PREFIX + text
    if first == _LEGACY_DOMAIN:
        domain, remainder = DEFAULT_DOMAIN, rest
    elif _is_host(first):
        domain, remainder = first, rest
    else:
        domain, remainder = DEFAULT_DOMAIN, text
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL_PREFIX + remainder
    return domain, remainder


def _translate_glob(pattern: str) -> str:
    """Return the regular expression of a Go ``path.Match`` pattern."""
    parts: list[str] = []
    index = 0
    while index < len(pattern):
        character = pattern[index]
        if character == "*":
            parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        elif character == "[":
            text, index = _translate_class(pattern, index + 1)
            parts.append(text)
            continue
        else:
            literal, index = _take_character(pattern, index, in_class=False)
            parts.append(re.escape(literal))
            continue
        index += 1
    return "".join(parts)


def _translate_class(pattern: str, index: int) -> tuple[str, int]:
    """Translate ``[…]`` from behind its bracket; return the text and the index after ``]``."""
    negated = pattern[index : index + 1] == "^"
    index += negated
    ranges: list[str] = []
    while pattern[index : index + 1] != "]" or not ranges:
        low, index = _take_character(pattern, index, in_class=True)
        high = low
        if pattern[index : index + 1] == "-":
            high, index = _take_character(pattern, index + 1, in_class=True)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            # Go accepts an empty range, which matches nothing.
            ranges.append("")
    body = "".join(ranges)
    if negated:
        return (f"[^{body}]" if body else "."), index + 1
    return (f"[{body}]" if body else r"(?!)"), index + 1


def _take_character(pattern: str, index: int, *, in_class: bool) -> tuple[str, int]:
    """Return one possibly escaped character and the index after it."""
    character = pattern[index : index + 1]
    if character == "\\":
        index += 1
        character = pattern[index : index + 1]
    elif in_class and character in {"-", "]"}:
        character = ""
    if not character:
        raise InvalidParameterError(f"invalid pattern {pattern!r}: syntax error in pattern")
    return character, index + 1
