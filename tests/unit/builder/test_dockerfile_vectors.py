"""BuildKit's own tables for the Dockerfile front end."""

import os
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from kedge.builder.dockerfile import globs
from kedge.builder.dockerfile.devices import parse_device
from kedge.builder.dockerfile.directives import (
    detect_syntax,
    find_directive,
    first_word,
    parse_directives,
)
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.flags import FlagKind, parse_flags
from kedge.builder.dockerfile.heredocs import (
    Heredoc,
    chomp,
    heredocs_of_line,
    try_parse_heredoc,
)
from kedge.builder.dockerfile.instructions import Add, Arg, Copy, Instruction, Run
from kedge.builder.dockerfile.ports import parse_exposed_ports
from kedge.builder.dockerfile.shell import ShellLexer
from kedge.builder.dockerfile.syntax import Node, parse_document
from kedge.builder.dockerfile.typed import parse_dockerfile, parse_instruction
from kedge.builder.dockerfile.words import split_words, try_parse_json_array

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("KEDGE_SHARED_DATA", REPOSITORY.parent / "shared/data"))
ROOT = DATA / "vectors/dockerfile"

pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason=f"no test vectors at {ROOT}")

T = TypeVar("T")
LEXER = ShellLexer()


def load(name: str, kind: type[T]) -> T:
    return msgspec.json.decode((ROOT / name).read_bytes(), type=kind)


def folders(name: str) -> list[Path]:
    return sorted((ROOT / name).iterdir()) if ROOT.is_dir() else []


def only_instruction(text: str) -> Instruction:
    return parse_instruction(parse_document(text).nodes[0])


def go_quote(text: str) -> str:
    short = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v"}
    out: list[str] = []
    for char in text:
        if char in '"\\':
            out.append(f"\\{char}")
        elif char in short:
            out.append(f"\\{short[char]}")
        elif char.isprintable():
            out.append(char)
        else:
            out.append(f"\\x{ord(char):02x}" if ord(char) < 128 else f"\\u{ord(char):04x}")
    return f'"{"".join(out)}"'


def dump(node: Node) -> str:
    parts = [node.keyword.lower()]
    if node.flags:
        parts.append(f"[{' '.join(map(go_quote, node.flags))}]")
    if node.trigger is not None:
        parts.append(f"({dump(node.trigger)})")
    return " ".join([*parts, *map(go_quote, node.arguments)])


@pytest.mark.parametrize("folder", folders("parser/positive"), ids=lambda path: path.name)
def test_syntax_tree(folder: Path) -> None:
    document = parse_document((folder / "Dockerfile").read_bytes().decode())
    tree = "".join(f"({dump(node)})\n" for node in document.nodes)
    assert tree == (folder / "result").read_bytes().decode()


@pytest.mark.parametrize("folder", folders("parser/negative"), ids=lambda path: path.name)
def test_refused_files(folder: Path) -> None:
    with pytest.raises(DockerfileError):
        parse_document((folder / "Dockerfile").read_bytes().decode())


class Lines(msgspec.Struct):
    children: list[tuple[int, int]]


def test_line_numbers() -> None:
    document = parse_document((ROOT / "parser/lines/Dockerfile").read_text())
    found = [(node.start_line, node.end_line) for node in document.nodes]
    assert found == load("parser/lines/expected.json", Lines).children


class WordsRow(msgspec.Struct):
    input: str
    expected: list[str]


class JsonArrays(msgspec.Struct):
    valid: list[WordsRow]
    invalid: list[str]


def test_words_keep_their_quotes() -> None:
    for row in load("parser/words.json", list[WordsRow]):
        assert split_words(row.input, "\\") == row.expected


def test_json_arrays() -> None:
    arrays = load("parser/json_arrays.json", JsonArrays)
    for row in arrays.valid:
        assert try_parse_json_array(row.input) == row.expected
    for text in arrays.invalid:
        with pytest.raises(DockerfileError, match="strings only"):
            try_parse_json_array(text)


class DirectiveRow(msgspec.Struct):
    function: str
    input: str
    ok: bool
    name: str = ""
    value: str = ""
    full_line_value: str | None = None
    start_line: int | None = None
    count: int = 0


def test_directives() -> None:
    for row in load("directives.json", list[DirectiveRow]):
        if row.function == "parse_all":
            found = parse_directives(row.input)
            assert len(found) == row.count, row
            assert (found[0].name, found[0].value) == (row.name, row.value)
            continue
        directive = (
            detect_syntax(row.input)
            if row.function == "detect_syntax"
            else find_directive(row.input, row.name)
        )
        assert (directive is not None) == row.ok, row
        if directive is not None:
            assert first_word(directive.value) == row.value, row
            assert directive.value == (row.full_line_value or directive.value), row
            assert directive.line == (row.start_line or directive.line), row


class ExpansionRow(msgspec.Struct):
    input: str
    flags: str = ""
    env: list[str] | dict[str, str] = msgspec.field(default_factory=list[str])
    expected: str | list[str] | None = None
    error: bool | str = False
    matched: list[str] | None = None
    unmatched: list[str] | None = None


class PatternRow(msgspec.Struct):
    function: str
    input: str
    expected: str | None = None
    error: bool = False
    greedy: bool = False
    anchored: bool = False


class Expansions(msgspec.Struct):
    env_for_env_var_test: dict[str, str]
    env_var_test: list[ExpansionRow]
    words_test: list[ExpansionRow]
    word_cases: list[ExpansionRow]
    matches: list[ExpansionRow]
    patterns: list[PatternRow]


def test_expansion_of_words() -> None:
    vectors = load("expansion.json", Expansions)
    checked = 0
    for row in vectors.env_var_test:
        if row.flags == "W":
            continue
        checked += 1
        if row.error:
            with pytest.raises(DockerfileError):
                LEXER.word(row.input, vectors.env_for_env_var_test)
        else:
            assert LEXER.word(row.input, vectors.env_for_env_var_test) == row.expected, row
    assert checked > 200


def test_expansion_splits_after_substitution() -> None:
    for row in load("expansion.json", Expansions).words_test:
        assert isinstance(row.env, list)
        environment = dict(item.split("=", 1) for item in row.env)
        if row.error:
            with pytest.raises(DockerfileError):
                LEXER.words(row.input, environment)
        else:
            assert list(LEXER.words(row.input, environment)) == row.expected, row


def test_modifiers_and_the_names_they_ask_for() -> None:
    vectors = load("expansion.json", Expansions)
    for row in vectors.word_cases + vectors.matches:
        assert isinstance(row.env, dict)
        if row.error:
            with pytest.raises(DockerfileError) as caught:
                LEXER.expand(row.input, row.env)
            assert row.error is True or str(row.error) in str(caught.value)
            continue
        found = LEXER.expand(row.input, row.env)
        assert found.text == row.expected, row
        if row.matched is not None and row.unmatched is not None:
            assert found.matched == set(row.matched), row
            assert found.unmatched == set(row.unmatched), row


def test_shell_patterns() -> None:
    for row in load("expansion.json", Expansions).patterns:
        if row.error:
            with pytest.raises(DockerfileError):
                globs.pattern_to_regex(row.input, longest=row.greedy, anchored=row.anchored)
        elif row.function == "shell_pattern_to_regex":
            regex = globs.pattern_to_regex(row.input, longest=row.greedy, anchored=row.anchored)
            assert regex == row.expected
        elif row.function == "reverse_pattern":
            assert globs.reverse_pattern(row.input) == row.expected


class HeredocVector(msgspec.Struct):
    name: str
    content: str
    expand: bool
    chomp: bool
    fd: int


class HeredocDocument(msgspec.Struct):
    dockerfile: str
    first_child_index: int
    heredocs_per_child: list[list[HeredocVector] | None]


class JsonDocument(msgspec.Struct):
    dockerfile: str
    children_without_heredocs: list[int]


class ParseHeredocRow(msgspec.Struct):
    input: str
    heredoc: str | None = None
    error: bool = False


class LineRow(msgspec.Struct):
    line: str
    names: list[str]


class ChompRow(msgspec.Struct):
    content: str
    expected: str


class CopyContent(msgspec.Struct, frozen=True):
    path: str
    data: str
    expand: bool


class CopyRow(msgspec.Struct):
    dockerfile: str
    dest: str
    sources: list[str]
    contents: list[CopyContent]


class RunFile(msgspec.Struct, frozen=True):
    name: str
    data: str
    chomp: bool


class RunRow(msgspec.Struct):
    dockerfile: str
    shell: bool
    command: list[str]
    files: list[RunFile]


class ErrorRow(msgspec.Struct):
    dockerfile: str
    error: str
    match: str = "contains"


class Heredocs(msgspec.Struct):
    document: HeredocDocument
    json_document: JsonDocument
    parse_heredoc: list[ParseHeredocRow]
    heredocs_from_line: list[LineRow]
    chomp: list[ChompRow]
    copy: list[CopyRow]
    run: list[RunRow]
    errors: list[ErrorRow]


def as_vector(heredoc: Heredoc) -> HeredocVector:
    return HeredocVector(
        name=heredoc.name,
        content=heredoc.content,
        expand=heredoc.expand,
        chomp=heredoc.chomp,
        fd=heredoc.descriptor,
    )


def test_heredocs_of_a_document() -> None:
    vectors = load("heredoc.json", Heredocs)
    nodes = parse_document(vectors.document.dockerfile).nodes
    for index, expected in enumerate(vectors.document.heredocs_per_child):
        node = nodes[vectors.document.first_child_index + index]
        assert [as_vector(each) for each in node.heredocs] == (expected or []), node.source
    nodes = parse_document(vectors.json_document.dockerfile).nodes
    for index in vectors.json_document.children_without_heredocs:
        assert nodes[index].heredocs == ()


def test_heredoc_tokens_and_lines() -> None:
    vectors = load("heredoc.json", Heredocs)
    for row in vectors.parse_heredoc:
        if row.error:
            with pytest.raises(DockerfileError):
                try_parse_heredoc(row.input)
        else:
            found = try_parse_heredoc(row.input)
            assert (found.name if found else None) == row.heredoc, row
    for line in vectors.heredocs_from_line:
        assert [each.name for each in heredocs_of_line(line.line)] == line.names, line
    for each in vectors.chomp:
        assert chomp(each.content) == each.expected


def test_heredocs_of_instructions() -> None:
    vectors = load("heredoc.json", Heredocs)
    for row in vectors.copy:
        copy = only_instruction(row.dockerfile)
        assert isinstance(copy, Copy | Add)
        found = [CopyContent(each.name, each.text, each.expand) for each in copy.transfer.contents]
        assert copy.transfer.destination == row.dest
        assert list(copy.transfer.sources) == row.sources
        assert found == row.contents
    for command in vectors.run:
        run = only_instruction(command.dockerfile)
        assert isinstance(run, Run)
        files = [RunFile(each.name, each.content, each.chomp) for each in run.command.files]
        assert run.command.is_shell == command.shell
        assert list(run.command.arguments) == command.command
        assert files == command.files
    for error in vectors.errors:
        with pytest.raises(DockerfileError, match=error.error):
            only_instruction(error.dockerfile)


class FlagVector(msgspec.Struct):
    type: str
    default: str | bool


class FlagRow(msgspec.Struct):
    flags: dict[str, FlagVector]
    args: list[str]
    error: bool
    values: dict[str, str | bool] = msgspec.field(default_factory=dict[str, str | bool])
    used: list[str] = msgspec.field(default_factory=list[str])
    not_used: list[str] = msgspec.field(default_factory=list[str])


class DeviceVector(msgspec.Struct):
    name: str
    required: bool


class DeviceRow(msgspec.Struct):
    input: str
    expected: DeviceVector | None = None
    error: str = ""


class IntervalRow(msgspec.Struct):
    input: str
    ok: bool = False
    error: str = ""


class UsedRow(msgspec.Struct):
    dockerfile: str
    flags_used: list[str]


class DocComments(msgspec.Struct):
    dockerfile: str
    stage_comment: str
    meta_args: dict[str, str]
    stage_args: dict[str, str]


class FlagVectors(msgspec.Struct):
    instruction_flags: list[FlagRow]
    instruction_errors: list[ErrorRow]
    run_device: list[DeviceRow]
    healthcheck_interval: list[IntervalRow]
    flags_used: list[UsedRow]
    doc_comments: DocComments


def test_flags() -> None:
    for row in load("flags.json", FlagVectors).instruction_flags:
        declared = {
            name: FlagKind.TEXT if flag.type == "string" else FlagKind.SWITCH
            for name, flag in row.flags.items()
        }
        if row.error:
            with pytest.raises(DockerfileError):
                parse_flags(row.args, declared)
            continue
        flags = parse_flags(row.args, declared)
        for name, expected in row.values.items():
            default = row.flags[name].default
            if isinstance(default, bool):
                assert flags.switch(name, default=default) is expected, row
            else:
                assert flags.text(name, default) == expected, row
        assert set(row.used) <= set(flags.used), row
        assert not set(row.not_used) & set(flags.used), row


def test_instruction_errors() -> None:
    for row in load("flags.json", FlagVectors).instruction_errors:
        with pytest.raises(DockerfileError) as caught:
            only_instruction(row.dockerfile)
        if row.match == "equal":
            assert caught.value.reason == row.error
        else:
            assert row.error in caught.value.reason


def test_flag_values() -> None:
    vectors = load("flags.json", FlagVectors)
    for row in vectors.run_device:
        if row.expected is None:
            with pytest.raises(DockerfileError, match=row.error):
                parse_device(row.input)
        else:
            device = parse_device(row.input)
            assert DeviceVector(device.name, device.is_required) == row.expected
    for interval in vectors.healthcheck_interval:
        text = f"HEALTHCHECK --interval={interval.input} CMD x"
        if interval.ok:
            only_instruction(text)
        else:
            with pytest.raises(DockerfileError, match=interval.error):
                only_instruction(text)
    for used in vectors.flags_used:
        run = only_instruction(used.dockerfile)
        assert isinstance(run, Run)
        assert list(run.flags_used) == used.flags_used


def test_documentation_comments() -> None:
    vectors = load("flags.json", FlagVectors).doc_comments
    dockerfile = parse_dockerfile(vectors.dockerfile)
    assert dockerfile.stages[0].start.comment == vectors.stage_comment
    global_names = [name for arg in dockerfile.global_args for name in arg.names]
    assert {name.name: name.comment for name in global_names} == vectors.meta_args
    stage_names = {
        name.name: name.comment
        for command in dockerfile.stages[0].commands
        if isinstance(command, Arg)
        for name in command.names
    }
    assert stage_names == vectors.stage_args


class ExposeRow(msgspec.Struct):
    input: list[str]
    expected: list[str] | None = None
    error: str | bool = False


def test_exposed_ports() -> None:
    for row in load("expose.json", list[ExposeRow]):
        if row.expected is None:
            with pytest.raises(DockerfileError) as caught:
                parse_exposed_ports(row.input)
            assert row.error in (True, caught.value.reason)
        else:
            assert list(parse_exposed_ports(row.input)) == row.expected
