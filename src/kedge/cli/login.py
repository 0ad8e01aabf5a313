"""``kedge login``: check credentials with a registry, and keep them."""

from __future__ import annotations

import os
import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, switch, value
from kedge.cli.registryname import registry_key_of
from kedge.client.credentials import CredentialStore, Login, config_directory
from kedge.errdefs import InvalidParameterError, UnauthorizedError
from kedge.lib.fields import text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient


def _run(options: Options, client: EngineClient) -> int:
    server = registry_key_of(options.words[0] if options.words else "")
    store = CredentialStore(config_directory(os.environ))
    password = _given_password(options)
    if not options.given("username") and not password and _knows(client, store, server):
        return OK
    username = options.text("username") or _ask_username()
    if not username:
        raise InvalidParameterError("username is empty")
    password = password or _ask_password()
    if not password:
        raise InvalidParameterError("password is empty")
    login = _check(client, server, Login(username, password))
    where = store.keep(server, login)
    if where:
        sys.stderr.write(
            f"\nWARNING! Your credentials are stored unencrypted in '{where}'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n\n"
        )
    sys.stdout.write("Login Succeeded\n")
    return OK


def _given_password(options: Options) -> str:
    if not options.on("password-stdin"):
        if options.given("password"):
            sys.stderr.write(
                "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"
            )
        return options.text("password")
    if options.given("password"):
        raise UsageError("conflicting options: --password and --password-stdin")
    if not options.text("username"):
        raise UsageError("the --password-stdin option requires --username")
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def _knows(client: EngineClient, store: CredentialStore, server: str) -> bool:
    """Tell whether the registry accepts what is kept already."""
    known = store.find(server)
    if known is None:
        return False
    sys.stderr.write("Authenticating with existing credentials...\n")
    try:
        _check(client, server, known)
    except UnauthorizedError as error:
        sys.stderr.write(f"Login did not succeed, error: {error}\n")
        return False
    sys.stdout.write("Login Succeeded\n")
    return True


def _check(client: EngineClient, server: str, login: Login) -> Login:
    answer = client.post("/auth", document=login.auth_config(server)).object()
    token = text(answer, "IdentityToken")
    return Login(login.username, identity_token=token) if token else login


def _ask_username() -> str:
    _ensure_terminal()
    sys.stderr.write("Username: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _ask_password() -> str:
    _ensure_terminal()
    import getpass  # noqa: PLC0415 - only for a person

    return getpass.getpass("Password: ")


def _ensure_terminal() -> None:
    if not sys.stdin.isatty():
        raise InvalidParameterError(
            "cannot perform an interactive login from a non TTY device:"
            " use --username and --password-stdin"
        )


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVER]",
    summary="Log in to a registry; Docker Hub where no server is named",
    flags=(
        value("username", "NAME", "User name", short="u"),
        value("password", "PASSWORD", "Password or personal access token", short="p"),
        switch("password-stdin", "Read the password from standard input"),
    ),
    run=_run,
    examples=(
        ("kedge login registry.example.com", "Ask for name and password"),
        ("kedge login -u ann --password-stdin ghcr.io < token", "From a script"),
    ),
    at_most=1,
)
