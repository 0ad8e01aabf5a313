"""What the front end promises beyond BuildKit's tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.instructions import Copy, OnBuild, Run
from kedge.builder.dockerfile.mounts import MountKind, Sharing, parse_mount
from kedge.builder.dockerfile.shell import Expansion, ShellLexer
from kedge.builder.dockerfile.syntax import INSTRUCTIONS, parse_document
from kedge.builder.dockerfile.typed import parse_dockerfile, parse_trigger
from kedge.builder.dockerfile.words import split_words

SHELL_TEXT = st.text("ab${}:-+?#%/\\'\"* \t_", max_size=30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "# a comment\n\nFORM python\n",
            "dockerfile parse error on line 3: unknown instruction: FORM (did you mean FROM?)",
        ),
        (
            "FROM a\nCOPY --chwon=me a b\n",
            "dockerfile parse error on line 2: unknown flag: --chwon (did you mean chown?)",
        ),
        (
            "FROM a\nRUN --mount=tpye=cache,target=/x true",
            (
                "dockerfile parse error on line 2: unexpected key 'tpye' in 'tpye=cache' "
                "(did you mean type?)"
            ),
        ),
        (
            "FROM a\nRUN --network=hots true",
            "dockerfile parse error on line 2: invalid network mode: hots (did you mean host?)",
        ),
        ("RUN true", "dockerfile parse error on line 1: no build stage in current context"),
        ("ARG a=1\n", "dockerfile parse error: dockerfile contains no stages to build"),
        ("", "dockerfile parse error: the Dockerfile cannot be empty"),
        ("FROM a\nRUN <<EOF\nx\n", "dockerfile parse error on line 2: unterminated heredoc EOF"),
        (
            "FROM a AS 1st\n",
            (
                'dockerfile parse error on line 1: invalid name for build stage: "1st", name '
                "can't start with a number or contain symbols"
            ),
        ),
        (
            "# escape=x\nFROM a",
            "dockerfile parse error on line 1: invalid escape token 'x' does not match ` or \\",
        ),
        (
            "FROM a\nRUN " + "x" * 65536,
            (
                "dockerfile parse error on line 2: dockerfile line greater than max allowed size "
                "of 65535"
            ),
        ),
    ],
)
def test_errors_name_the_line_and_the_nearest_word(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_dockerfile(text)
    assert str(caught.value) == message


def test_stages_and_global_arguments() -> None:
    dockerfile = parse_dockerfile(
        "# syntax=docker/dockerfile:1\nARG V=1\nFROM a:$V AS Build\nRUN x\n"
        "FROM --platform=linux/amd64 b\nCOPY --from=build /x /y\n"
    )
    assert [stage.label for stage in dockerfile.stages] == ["build", "stage-1"]
    assert dockerfile.stages[1].start.platform == "linux/amd64"
    assert dockerfile.global_args[0].names[0].default == "1"
    assert dockerfile.syntax == "docker/dockerfile:1"
    copy = dockerfile.stages[1].commands[0]
    assert isinstance(copy, Copy)
    assert copy.from_ == "build"


def test_triggers_survive_the_image_configuration() -> None:
    stage = parse_dockerfile("FROM a\nonbuild RUN <<EOF\necho hi\nEOF\n").stages[0]
    onbuild = stage.commands[0]
    assert isinstance(onbuild, OnBuild)
    run = parse_trigger(onbuild.expression)
    assert isinstance(run, Run)
    assert run.command.files[0].content == "echo hi\n"
    with pytest.raises(DockerfileError, match="ONBUILD trigger"):
        parse_trigger("FROM x")


def test_carriage_returns_end_lines() -> None:
    document = parse_document("FROM a\r\nRUN x \\\r\n y\r\n")
    assert [node.arguments for node in document.nodes] == [("a",), ("x  y",)]


def test_mounts() -> None:
    cache = parse_mount("type=cache,dst=/root/.cache,sharing=locked,id=pip,uid=7,mode=0700")
    assert cache.kind is MountKind.CACHE
    assert (cache.target, cache.cache_id, cache.sharing) == ("/root/.cache", "pip", Sharing.LOCKED)
    assert (cache.uid, cache.mode, cache.read_only) == (7, 0o700, False)
    bind = parse_mount("target=/src,from=base,source=/a")
    assert (bind.kind, bind.read_only, bind.from_) == (MountKind.BIND, True, "base")
    assert not parse_mount("target=/src,rw").read_only
    assert parse_mount("type=tmpfs,target=/t,size=64m").size_bytes == 64 << 20
    assert parse_mount("type=secret,id=$N", lambda text: text.replace("$N", "x")).cache_id == "x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("type=cahce,target=/x", "unsupported mount type 'cahce' .did you mean cache"),
        ("target=/", "invalid mount target '/'"),
        ("type=cache", "target is required"),
        ("target=/x,sharing=locked", "unexpected key 'sharing' for mount type 'bind'"),
        ("type=tmpfs,target=/x,size=big", "invalid value big for size"),
        ("type=cache,target=/x,mode=999", "invalid value 999 for mode"),
        ("from=$X,target=/x", "cannot use variables"),
        ("type", "must be a key=value pair"),
        ("type=secret", "invalid secret mount"),
    ],
)
def test_refused_mounts(text: str, reason: str) -> None:
    with pytest.raises(DockerfileError, match=reason):
        parse_mount(text)


def expansion_or_reason(text: str, env: dict[str, str]) -> Expansion | str:
    try:
        return ShellLexer().expand(text, env)
    except DockerfileError as error:
        return str(error)


@given(SHELL_TEXT, st.dictionaries(st.text("ab_", min_size=1, max_size=2), st.text("xy* /")))
def test_the_lexer_ends_with_a_word_or_one_clear_line(text: str, env: dict[str, str]) -> None:
    found = expansion_or_reason(text, env)
    if isinstance(found, str):
        assert "\n" not in found
    else:
        assert found.matched <= env.keys()
        assert not found.unmatched & env.keys()
        assert "".join(found.text.split()) == "".join("".join(found.words).split())


@given(st.text(max_size=40))
def test_quoted_text_comes_back_unchanged(text: str) -> None:
    assert ShellLexer().word("'" + text.replace("'", "'\\''") + "'", {}) == text


@given(st.lists(st.text("abé$=", min_size=1, max_size=5), max_size=5))
def test_plain_words_split_at_blanks(words: list[str]) -> None:
    assert split_words("  ".join(words), "\\") == words


def reason_of(text: str) -> str:
    try:
        parse_dockerfile(text)
    except DockerfileError as error:
        return str(error)
    return ""


@given(
    st.lists(
        st.sampled_from([*INSTRUCTIONS, "a", "b=c", "<<E", "E", "--x=y", "[", '"a"', "\\", "\n"])
    )
)
def test_any_text_parses_or_fails_with_one_line(words: list[str]) -> None:
    assert "\n" not in reason_of(" ".join(words))


def test_a_message_does_nothing_to_a_terminal() -> None:
    assert reason_of("FROM a\n\x1b[31mX\x07 b") == (
        "dockerfile parse error on line 2: unknown instruction: \\x1b[31mX\\x07"
    )
