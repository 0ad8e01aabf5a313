"""``kedge completion``: tab completion for bash, zsh and fish, made from the verbs' own tables."""

import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.completions import make_script
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError
from kedge.client.http import EngineClient

_SHELLS: Final = ("bash", "zsh", "fish")


def _run(options: Options, _client: EngineClient) -> int:
    shell = options.words[0]
    if shell not in _SHELLS:
        raise UsageError(f"no completion for {shell}: want {', '.join(_SHELLS)}")
    sys.stdout.write(make_script(shell))
    return OK


COMMAND: Final = Command(
    usage="bash|zsh|fish",
    summary="Print a script that completes commands, options and names when tab is pressed",
    flags=(),
    run=_run,
    examples=(
        ("source <(kedge completion bash)", "In this bash; add the line to ~/.bashrc to keep it"),
        ("kedge completion zsh > ~/.zfunc/_kedge", "For zsh, with ~/.zfunc in fpath"),
        ("kedge completion fish > ~/.config/fish/completions/kedge.fish", "For fish"),
    ),
    at_least=1,
    at_most=1,
    needs_engine=False,
    needs_host=False,
    complete="bash|zsh|fish",
)
