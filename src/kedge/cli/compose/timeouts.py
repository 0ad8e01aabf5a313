"""``--timeout`` of verbs that stop containers."""

from typing import Final

from kedge.cli.flags import Options, integer, value


def timeout_s(options: Options) -> int | None:
    """Return the seconds of ``--timeout``; None where each service's own count."""
    return options.integer("timeout") if options.given("timeout") else None


TIMEOUT_FLAG: Final = value(
    "timeout", "SECONDS", "How long containers may take to stop", short="t", check=integer
)
