"""Who may do what in a registry: anybody, the users of a password file, or holders of a token.

A request names what it wants as scopes, in the vocabulary of the token specification
(``repository:team/app:pull``). Refusing carries the challenge that tells a client where to turn.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from kedge.registry.failures import DistributionError, ErrorCode

ANONYMOUS = ""


class Scope(NamedTuple):
    """One kind of action on one resource."""

    kind: str
    """``repository`` or ``registry``."""
    name: str
    action: str
    """``pull``, ``push``, ``delete`` or ``*``."""


CATALOG = Scope("registry", "catalog", "*")


class Access(Protocol):
    """A rule about who may do what."""

    def authorize(self, header: str, wanted: Sequence[Scope]) -> str:
        """Return the name of whoever asks, `ANONYMOUS` where nobody was asked.

        Args:
            header: The ``Authorization`` header, or empty.
            wanted: What the request is about to do; nothing for the version check.

        Raises:
            DistributionError: Not without, or not with these, credentials.
        """
        ...


class OpenAccess:
    """Everybody may do everything."""

    def authorize(self, header: str, wanted: Sequence[Scope]) -> str:
        """Return `ANONYMOUS`."""
        del header, wanted
        return ANONYMOUS


def join_scopes(wanted: Sequence[Scope]) -> str:
    """Return scopes as a challenge lists them: one word for each resource."""
    actions: dict[tuple[str, str], list[str]] = {}
    for scope in wanted:
        actions.setdefault((scope.kind, scope.name), []).append(scope.action)
    return " ".join(f"{kind}:{name}:{','.join(a)}" for (kind, name), a in actions.items())


def unauthorized(challenge: str, message: str) -> DistributionError:
    """Return the refusal that asks for credentials."""
    return DistributionError(ErrorCode.UNAUTHORIZED, message, (("WWW-Authenticate", challenge),))
