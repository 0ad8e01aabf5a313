"""The options that stand before the verb, as Docker's client has them."""

from __future__ import annotations

import os
import sys

from kedge.cli.flags import (
    Flag,
    HelpRequestedError,
    Options,
    UsageError,
    many,
    read_options,
    switch,
    value,
)
from kedge.cli.target import GlobalOptions, default_tls
from kedge.client.hosts import TlsChoice
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


GLOBAL_FLAGS: Final[tuple[Flag, ...]] = (
    value("context", "NAME", "Context to use, whatever the environment says", short="c",
          complete="context"),
    many("host", "ADDRESS", "Engine to talk to (default unix:///run/kedge/kedge.sock)", short="H"),
    value("config", "FOLDER", "Where contexts and passwords are (default ~/.docker)",
          complete="folder"),
    switch("tls", "Use TLS; --tlsverify implies it"),
    switch("tlsverify", "Use TLS and check the engine's certificate"),
    value("tlscacert", "FILE", "Authorities to trust (default ~/.docker/ca.pem)", complete="file"),
    value("tlscert", "FILE", "Certificate of this client", complete="file"),
    value("tlskey", "FILE", "Key of that certificate", complete="file"),
    switch("debug", "Accepted for Docker's sake: kedge has no more to say", short="D"),
    value("log-level", "LEVEL", "Accepted for Docker's sake", short="l",
          complete="debug|info|warn|error|fatal"),
    switch("version", "Show the version of this client", short="v"),
)  # fmt: skip


def read_global_options(words: list[str]) -> tuple[GlobalOptions, list[str]]:
    """Return what stands before the verb, and the verb with everything after it.

    Raises:
        UsageError: An unknown option, or one without its value.
    """
    try:
        options = read_options(GLOBAL_FLAGS, words, interspersed=False)
    except HelpRequestedError:
        return GlobalOptions(), ["--help"]
    except UsageError as error:
        raise UsageError(f"{error} (see 'kedge --help')") from None
    if options.on("version"):
        return GlobalOptions(), ["--version"]
    if len(options.texts("host")) > 1:
        raise UsageError("specify only one -H")
    if options.given("config"):
        os.environ["DOCKER_CONFIG"] = options.text("config")
    if options.text("log-level") not in {"", "debug", "info", "warn", "error", "fatal"}:
        sys.stderr.write(f"Unable to parse logging level: {options.text('log-level')}\n")
        raise UsageError("--log-level: want debug, info, warn, error or fatal")
    return (
        GlobalOptions(options.text("host"), options.text("context"), _tls(options)),
        options.words,
    )


def _tls(options: Options) -> TlsChoice | None:
    verify = options.on("tlsverify") or bool(
        os.environ.get("DOCKER_TLS_VERIFY") and not options.given("tlsverify")
    )
    if not verify and not options.on("tls"):
        return None
    found = default_tls(os.environ, verify=verify)
    return TlsChoice(
        verify,
        options.text("tlscacert") or found.ca,
        options.text("tlscert") or found.cert,
        options.text("tlskey") or found.key,
    )
