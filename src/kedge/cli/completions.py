"""Completion scripts for three shells. Pure but for importing the verbs.

Verbs and flags are in the script; names of containers and images are asked for when needed, by
``kedge __complete KIND`` with the ``-H`` of the line being typed.
"""

import importlib
from typing import Final, NamedTuple

from kedge.cli.command import Command
from kedge.cli.flags import HELP, Flag
from kedge.cli.table import COMMANDS, GROUPS, find_in_group, group_entries

_KINDS: Final = frozenset(
    {
        *("container", "running", "stopped", "paused", "image", "volume", "network", "context"),
        "service",
    }
)
_FILES: Final = {"file": "-f", "folder": "-d"}


class Verb(NamedTuple):
    """One verb as completion sees it."""

    path: str
    """``ps`` or ``container ls``."""
    summary: str
    command: Command

    @property
    def flags(self) -> tuple[Flag, ...]:
        """All flags, ``--help`` included."""
        has_h = any(flag.short == HELP.short for flag in self.command.flags)
        return (*self.command.flags, HELP._replace(short="") if has_h else HELP)


def load_verbs() -> list[Verb]:
    """Return all verbs, grouped ones last."""
    verbs = [Verb(e.name, e.summary, _load(e.module)) for e in COMMANDS]
    for group in GROUPS:
        for name, summary in group_entries(group):
            entry = find_in_group(group, name)
            if entry is not None:
                verbs.append(Verb(f"{group} {name}", summary, _load(entry.module)))
    return verbs


def _load(module: str) -> Command:
    command: Command = importlib.import_module(f"kedge.cli.{module}").COMMAND
    return command


def make_script(shell: str) -> str:
    """Return the script for ``bash``, ``zsh`` or ``fish``."""
    verbs = load_verbs()
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](verbs)


def _flag_words(verb: Verb) -> str:
    words = [f"--{flag.name}" for flag in verb.flags]
    words += [f"-{flag.short}" for flag in verb.flags if flag.short]
    return " ".join(words)


def _names(flag: Flag) -> str:
    return f"--{flag.name}|-{flag.short}" if flag.short else f"--{flag.name}"


_BASH_HEAD: Final = r"""# bash completion for kedge
_kedge_names() {
    COMPREPLY=($(compgen -W "$(kedge "${host[@]}" __complete "$1" 2>/dev/null)" -- "$cur"))
    __ltrim_colon_completions_kedge "$cur"
}
__ltrim_colon_completions_kedge() {
    # Readline breaks words at colons, as in image:tag.
    if [[ $1 == *:* && $COMP_WORDBREAKS == *:* ]]; then
        local prefix=${1%"${1##*:}"} i
        for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]=${COMPREPLY[i]#"$prefix"}; done
    fi
}
_kedge_words() { COMPREPLY=($(compgen -W "$1" -- "$cur")); }
_kedge() {
    local line=${COMP_LINE:0:COMP_POINT} cur prev verb="" host=() i word
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur=${words[-1]}
    prev=${words[${#words[@]}-2]}
    COMPREPLY=()
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        case $word in
            -H|--host) host=(-H "${words[i+1]}"); ((i++)) ;;
            --host=*) host=(-H "${word#*=}") ;;
            -c|--context) host=(-c "${words[i+1]}"); ((i++)) ;;
            --context=*) host=(-c "${word#*=}") ;;
            --config|--tlscacert|--tlscert|--tlskey|-l|--log-level) ((i++)) ;;
            -*) ;;
            *) verb=$word; break ;;
        esac
    done
    case $verb in
        @GROUPS@)
            if ((i + 1 < ${#words[@]} - 1)); then verb="$verb ${words[i+1]}"; fi ;;
    esac
    case $verb in
"""

_BASH_TAIL: Final = r"""        *)
            case $prev in
                -c|--context) _kedge_names context; return ;;
            esac
            _kedge_words "@VERBS@ --help --host --context --config --version" ;;
    esac
}
complete -o default -o bashdefault -F _kedge kedge
"""


def _bash(verbs: list[Verb]) -> str:
    lines = [_BASH_HEAD.replace("@GROUPS@", "|".join(GROUPS))]
    for group in GROUPS:
        names = " ".join(name for name, _ in group_entries(group))
        lines.append(f'        {group}) _kedge_words "{names} --help" ;;\n')
    for verb in verbs:
        lines.append(f'        "{verb.path}")\n            case $prev in\n')
        lines += [
            f"                {_names(flag)}) {_bash_value(flag.complete)}; return ;;\n"
            for flag in verb.flags
            if flag.metavar
        ]
        lines.append("            esac\n            if [[ $cur == -* ]]; then\n")
        lines.append(f'                _kedge_words "{_flag_words(verb)}"\n            else\n')
        lines.append(f"                {_bash_value(verb.command.complete)}\n            fi ;;\n")
    words = [*(e.name for e in COMMANDS), *GROUPS]
    lines.append(_BASH_TAIL.replace("@VERBS@", " ".join(words)))
    return "".join(lines)


def _bash_value(kind: str) -> str:
    if kind in _KINDS:
        return f"_kedge_names {kind}"
    if kind in _FILES:
        return f'COMPREPLY=($(compgen {_FILES[kind]} -- "$cur"))'
    return f'_kedge_words "{kind.replace("|", " ")}"' if kind else ":"


_ZSH_HEAD: Final = r"""#compdef kedge
# zsh completion for kedge
_kedge_names() {
    local -a names
    names=(${(f)"$(kedge ${host} __complete $1 2>/dev/null)"})
    compadd -a names
}
_kedge() {
    local -a host verbs
    local verb="" i
    for ((i = 2; i < CURRENT; i++)); do
        case ${words[i]} in
            -H|--host) host=(-H ${words[i+1]}); ((i++)) ;;
            -c|--context) host=(-c ${words[i+1]}); ((i++)) ;;
            -*) ;;
            *) verb=${words[i]}; break ;;
        esac
    done
    if [[ -z $verb ]]; then
        verbs=(
@VERBS@
        )
        _describe command verbs
        return
    fi
    case $verb in
        @GROUPS@)
            if ((i + 1 >= CURRENT)); then
                case $verb in
@GROUPVERBS@
                esac
                _describe command verbs
                return
            fi
            ((i++))
            verb="$verb ${words[i]}" ;;
    esac
    shift $((i - 1)) words
    ((CURRENT -= i - 1))
    case $verb in
"""


_ZSH_TAIL: Final = r"""    esac
}
compdef _kedge kedge 2>/dev/null
[[ $funcstack[1] == _kedge ]] && _kedge "$@"
"""


def _zsh(verbs: list[Verb]) -> str:
    names = [(e.name, e.summary) for e in COMMANDS] + list(GROUPS.items())
    pairs = {g: " ".join(_zsh_pair(*pair) for pair in group_entries(g)) for g in GROUPS}
    indent = " " * 20
    by_group = "\n".join(f"{indent}{group}) verbs=({pairs[group]}) ;;" for group in GROUPS)
    head = _ZSH_HEAD.replace("@GROUPS@", "|".join(GROUPS)).replace("@GROUPVERBS@", by_group)
    lines = [
        head.replace("@VERBS@", "\n".join(f"            {_zsh_pair(*pair)}" for pair in names))
    ]
    for verb in verbs:
        lines.append(f'        "{verb.path}") _arguments -s -S \\\n')
        lines += [f"            {text} \\\n" for flag in verb.flags for text in _zsh_flag(flag)]
        rest = "" if verb.command.runs_program else "*"
        lines.append(
            f"            {_quote(f'{rest or 1}:argument:{_zsh_value(verb.command.complete)}')}"
        )
        lines.append(
            " \\\n            '*::program:_normal' ;;\n" if verb.command.runs_program else " ;;\n"
        )
    lines.append(_ZSH_TAIL)
    return "".join(lines)


def _zsh_pair(name: str, summary: str) -> str:
    return _quote(f"{name}:{summary}")


def _zsh_flag(flag: Flag) -> list[str]:
    text = flag.help.replace("[", "(").replace("]", ")").replace(":", " ")
    repeat = "*" if flag.repeats else ""
    tail = f"[{text}]"
    if flag.metavar:
        tail += f":{flag.name}:{_zsh_value(flag.complete)}"
    found = [_quote(f"{repeat}--{flag.name}{'=' if flag.metavar else ''}{tail}")]
    if flag.short:
        found.append(_quote(f"{repeat}-{flag.short}{'+' if flag.metavar else ''}{tail}"))
    return found


def _zsh_value(kind: str) -> str:
    if kind in _KINDS:
        return f"_kedge_names {kind}"
    if kind in _FILES:
        return "_files" if kind == "file" else "_files -/"
    words = kind.replace("|", " ").replace(":", "\\:")
    return f"({words})" if kind else " "


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


_FISH_HEAD: Final = r"""# fish completion for kedge
function __kedge_words
    set -l words (commandline -opc)
    set -e words[1]
    set -l found
    set -l skip 0
    for word in $words
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case -H --host -c --context
                set skip 1
            case '-*'
            case '*'
                set -a found $word
        end
    end
    string join \n -- $found
end
function __kedge_verb
    set -l found (__kedge_words)
    switch "$found[1]"
        case @GROUPS@
            test "$found[1] $found[2]" = "$argv"
        case '*'
            test "$found[1]" = "$argv"
    end
end
function __kedge_no_verb
    test (count (__kedge_words)) -eq 0
end
function __kedge_group
    set -l found (__kedge_words)
    test (count $found) -eq 1; and test "$found[1]" = "$argv"
end
function __kedge_names
    kedge __complete $argv 2>/dev/null
end
complete -c kedge -f
complete -c kedge -n __kedge_no_verb -s H -l host -x -d 'engine to talk to'
complete -c kedge -n __kedge_no_verb -s c -l context -x -a '(__kedge_names context)' -d context
"""


def _fish(verbs: list[Verb]) -> str:
    lines = [_FISH_HEAD.replace("@GROUPS@", " ".join(GROUPS))]
    for name, summary in [*((e.name, e.summary) for e in COMMANDS), *GROUPS.items()]:
        lines.append(f"complete -c kedge -n __kedge_no_verb -a {name} -d {_quote(summary)}\n")
    for group in GROUPS:
        for name, summary in group_entries(group):
            lines.append(
                f"complete -c kedge -n '__kedge_group {group}' -a {name} -d {_quote(summary)}\n"
            )
    for verb in verbs:
        condition = _quote(f"__kedge_verb {verb.path}")
        for flag in verb.flags:
            parts = [f"complete -c kedge -n {condition} -l {flag.name}"]
            if flag.short:
                parts.append(f"-s {flag.short}")
            if flag.metavar:
                parts.append(_fish_value(flag.complete, "-r"))
            lines.append(" ".join(parts) + f" -d {_quote(flag.help)}\n")
        if verb.command.complete:
            lines.append(
                f"complete -c kedge -n {condition} {_fish_value(verb.command.complete, '')}\n"
            )
    return "".join(lines)


def _fish_value(kind: str, required: str) -> str:
    if kind in _KINDS:
        return f"{'-x ' if required else ''}-a '(__kedge_names {kind})'"
    if kind in _FILES:
        return f"{required} -F".strip() if kind == "file" else "-a '(__fish_complete_directories)'"
    return f"{'-x ' if required else ''}-a {_quote(kind.replace('|', ' '))}" if kind else "-x"
