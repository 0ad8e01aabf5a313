import shutil
import subprocess

import pytest

from kedge.cli.completions import Verb, load_verbs, make_script
from kedge.cli.helptext import command_help, general_help, group_help
from kedge.cli.main import main
from kedge.cli.table import COMMANDS, GROUPS, find_in_group, group_entries

VERBS = load_verbs()
WORDS = "kedge: 'kedge {0}' requires {1}\nSee 'kedge {0} --help'.\n"
UNREACHABLE = (
    "kedge: cannot connect to the engine at unix:///nowhere: No such file or directory: "
    "is kedged running?\n"
)


@pytest.mark.parametrize("verb", VERBS, ids=[verb.path for verb in VERBS])
def test_every_help_teaches(verb: Verb) -> None:
    text = command_help(verb.path, verb.command)
    assert text.startswith(f"Usage: kedge {verb.path}")
    assert verb.command.summary in text
    assert "Examples:" in text
    assert "kedge " in text.split("Examples:")[1]
    assert all(f"--{flag.name}" in text for flag in verb.flags)
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("verb", VERBS, ids=[verb.path for verb in VERBS])
def test_flags_are_unambiguous(verb: Verb) -> None:
    names = [flag.name for flag in verb.flags]
    shorts = [flag.short for flag in verb.flags if flag.short]
    assert len(set(names)) == len(names)
    assert len(set(shorts)) == len(shorts)


def test_general_help_names_every_verb() -> None:
    text = general_help()
    assert all(f"  {entry.name} " in text for entry in COMMANDS)
    for group in GROUPS:
        assert all(
            name in group_help(group, group_entries(group)) for name, _ in group_entries(group)
        )


def test_groups_find_verbs_by_dockers_other_names() -> None:
    for group, name, verb in (
        ("container", "ls", "ps"), ("container", "list", "ps"), ("container", "ps", "ps"),
        ("image", "remove", "rmi"), ("image", "list", "images"),
        ("image", "bootstrap", "bootstrap"),
    ):  # fmt: skip
        entry = find_in_group(group, name)
        assert entry is not None
        assert entry.name == verb
    assert find_in_group("image", "nope") is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_valid(shell: str) -> None:
    script = make_script(shell)
    assert "--host-certs" in script or "host-certs" in script
    assert "__complete" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    checked = subprocess.run(
        [shell, "-n"], input=script, text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kedge ru", {"run"}),
        ("kedge run --net", {"--network", "--network-alias"}),
        ("kedge -H unix:///x run --pull ", {"always", "missing", "never"}),
        ("kedge image boot", {"bootstrap"}),
        ("kedge container ls --no-t", {"--no-trunc"}),
        ("kedge completion f", {"fish"}),
    ],
)
def test_bash_completes(line: str, expected: set[str]) -> None:
    code = (
        f"{make_script('bash')}\nCOMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; _kedge\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", code], text=True, capture_output=True, check=True)
    assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["rnu"], 1, "kedge: 'rnu' is not a kedge command (did you mean run?)\n"),
        (["image", "pul"], 1, "kedge: 'image pul' is not a kedge command (did you mean pull?)\n"),
        (["--nope"], 125, "kedge: unknown flag: --nope (see 'kedge --help')\n"),
        (["rename", "a"], 1, WORDS.format("rename", "2 arguments")),
        (["volume", "create", "a", "b"], 1, WORDS.format("volume create", "at most 1 argument")),
        (["cp", "a"], 1, WORDS.format("cp", "2 arguments")),
        (["commit"], 1, WORDS.format("commit", "at least 1 and at most 2 arguments")),
        (["rm"], 1, "kedge: 'kedge rm' requires at least 1 argument\nSee 'kedge rm --help'.\n"),
        (
            ["-H", "x", "ps"],
            1,
            ("kedge: unable to parse host 'x': "
            "want unix:///PATH, tcp://NAME:PORT or ssh://[USER@]NAME\n"),
        ),
        (
            ["-H", "unix:///nowhere", "run", "x"],
            125,
            UNREACHABLE,
        ),
        (
            ["-H", "unix:///nowhere", "ps"],
            1,
            UNREACHABLE,
        ),
    ],
)  # fmt: skip
def test_failures_are_one_line(
    words: list[str], code: int, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == code
    assert capsys.readouterr().err == error


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["help", "run"], ["image"], ["image", "ls", "-h"], ["--version"]]
)
def test_help_and_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    assert "kedge" in capsys.readouterr().out
