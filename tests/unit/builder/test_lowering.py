import pytest

from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.signals import is_signal
from kedge.builder.dockerfile.typed import parse_dockerfile
from kedge.builder.lowering import Effect, Scope, lower
from kedge.builder.operations import CopyOperation, MakeDirectory, RunOperation
from kedge.builder.state import StageState, image_state, scratch_state
from kedge.errdefs import ForbiddenError, NotSupportedError
from kedge.oci.image_spec import ContainerConfig, History, ImageConfig, RootFS
from kedge.oci.platforms import Platform

AMD64 = Platform("linux", "amd64")


def apply(text: str, scope: Scope | None = None) -> tuple[StageState, list[Effect]]:
    """Apply the instructions of ``text`` to an empty stage."""
    state = scratch_state(AMD64)
    scope = scope or Scope(escape="\\", global_args={}, build_args={})
    commands = parse_dockerfile(f"FROM scratch\n{text}").stages[0].commands
    return state, [lower(command, state, scope) for command in commands]


def last_run(text: str, scope: Scope | None = None) -> RunOperation:
    operation = apply(text, scope)[1][-1].operation
    assert isinstance(operation, RunOperation)
    return operation


def last_copy(text: str) -> CopyOperation:
    operation = apply(text)[1][-1].operation
    assert isinstance(operation, CopyOperation)
    return operation


def test_metadata() -> None:
    state, _ = apply(
        "ENV A=1 B=$A\nENV A=2\nLABEL a.b=$A\nUSER me\nWORKDIR /x\nWORKDIR y\nEXPOSE 80 90-91/udp\n"
        'VOLUME /data\nSTOPSIGNAL SIGINT\nCMD ["a"]\nENTRYPOINT run $A\nMAINTAINER me\n'
        'ONBUILD RUN x\nHEALTHCHECK --interval=5s CMD curl x\nSHELL ["/bin/bash", "-c"]\n'
    )
    config = state.config
    assert config.env[1:] == ["A=2", "B="]
    assert config.labels == {"a.b": "2"}
    assert (config.user, config.working_dir, config.stop_signal) == ("me", "/x/y", "SIGINT")
    assert list(config.exposed_ports) == ["80/tcp", "90/udp", "91/udp"]
    assert list(config.volumes) == ["/data"]
    assert config.entrypoint == ["/bin/sh", "-c", "run $A"]
    assert config.cmd == ["a"]
    assert config.on_build == ["RUN x"]
    assert config.shell == ["/bin/bash", "-c"]
    assert config.healthcheck is not None
    assert config.healthcheck.test == ["CMD-SHELL", "curl x"]
    assert config.healthcheck.interval == 5_000_000_000
    assert state.author == "me"


def test_history_reads_as_buildkit_writes_it() -> None:
    _, effects = apply(
        "ARG V=1\nENV A=b\nRUN echo $V\nCOPY --chown=1:2 a b /c/\nWORKDIR /w\nEXPOSE 80\n"
        'CMD ["a", "b c"]\nVOLUME /v\nLABEL l="x y"\nUSER u\nENTRYPOINT []\n'
        "HEALTHCHECK --timeout=1s CMD x\n"
    )
    assert [effect.created_by for effect in effects] == [
        "ARG V=1",
        "ENV A=b",
        "RUN |1 V=1 /bin/sh -c echo $V # buildkit",
        "COPY --chown=1:2 a b /c/ # buildkit",
        "WORKDIR /w",
        "EXPOSE [80/tcp]",
        'CMD ["a" "b c"]',
        "VOLUME [/v]",
        "LABEL l=x y",
        "USER u",
        "ENTRYPOINT []",
        (
            "HEALTHCHECK {Test:[CMD-SHELL x] Interval:0s Timeout:1s StartPeriod:0s "
            "StartInterval:0s Retries:0}"
        ),
    ]


def test_an_entrypoint_resets_an_inherited_command_only() -> None:
    state, _ = apply('ENTRYPOINT ["x"]\nCMD ["y"]\nENTRYPOINT ["z"]\n')
    assert state.config.cmd == ["y"]
    base = ImageConfig(config=ContainerConfig(cmd=["old"]), rootfs=RootFS())
    inherited = image_state("sha256:0", base, [], AMD64)
    command = parse_dockerfile('FROM a\nENTRYPOINT ["x"]\n').stages[0].commands[0]
    lower(command, inherited, Scope(escape="\\", global_args={}, build_args={}))
    assert inherited.config.cmd == []


def test_arguments_and_variables_of_a_run() -> None:
    scope = Scope(
        escape="\\",
        global_args={"G": "global", "TARGETARCH": "amd64"},
        build_args={"B": "given"},
        proxy=("HTTP_PROXY=p",),
    )
    run = last_run("ARG A=1\nARG B=2\nARG G\nARG NONE\nARG TARGETARCH\nENV A=env\nRUN x\n", scope)
    assert run.env[1:] == ("A=env", "B=given", "G=global", "TARGETARCH=amd64")
    assert run.proxy == ("HTTP_PROXY=p",)
    assert "HTTP_PROXY" not in str(run.describe())
    assert run.args == ("/bin/sh", "-c", "x")


def test_metadata_does_not_change_the_description_of_a_run() -> None:
    plain = last_run("RUN x\n").describe()
    assert last_run('LABEL a=b\nEXPOSE 80\nCMD ["q"]\nRUN x\n').describe() == plain
    assert last_run("ENV a=b\nRUN x\n").describe() != plain
    assert last_run("USER me\nRUN x\n").describe() != plain
    assert last_run("RUN y\n").describe() != plain


def test_the_address_of_an_extra_host_is_not_described() -> None:
    def described(address: str) -> object:
        scope = Scope(escape="\\", global_args={}, build_args={}, hosts=(f"db:{address}",))
        return last_run("RUN x\n", scope).describe()

    assert described("10.0.0.1") == described("10.0.0.2")


def test_here_documents_of_run() -> None:
    assert last_run("RUN <<-EOF\n\ta\n\tb\nEOF\n").args[-1] == "a\nb\n"
    assert last_run("RUN <<EOF cat\nx\nEOF\n").args[-1] == "<<EOF cat\nx\nEOF"
    script = last_run("RUN <<EOF\n#!/usr/bin/python3\nprint(1)\nEOF\n")
    assert script.args[-1] == "/dev/pipes/EOF"
    assert script.script == "#!/usr/bin/python3\nprint(1)\n"


def test_copy() -> None:
    copy = last_copy("ENV D=/x\nWORKDIR /w\nCOPY --chmod=755 $D/a b* to/\n")
    assert copy.sources == ("/x/a", "b*")
    assert (copy.destination, copy.into_directory, copy.mode) == ("/w/to", True, "755")
    assert last_copy("WORKDIR /w\nCOPY a .\n").destination == "/w"
    assert last_copy("COPY a ../../x\n").destination == "/x"
    assert last_copy("COPY a /x/..\n").into_directory
    inline = last_copy("ENV A=1\nCOPY <<EOF <<'RAW' /x/\n\"$A\"\nEOF\n$A\nRAW\n")
    assert [file.content for file in inline.files] == ['"1"\n', "$A\n"]
    assert last_copy("ADD a /b\n").unpacks
    assert not last_copy("ADD --unpack=false a /b\n").unpacks


def test_workdir_makes_its_directory_unless_it_is_the_root() -> None:
    _, effects = apply("USER me\nWORKDIR /a/../b\nWORKDIR /\n")
    assert effects[1].operation == MakeDirectory(path="/b", owner="me")
    assert effects[2].operation is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("RUN --mount=type=ssh,uid=1 x", "line 2: RUN --mount=type=ssh: mode, uid and gid are not"),
        ("RUN --device=a/b=c x", "line 2: RUN --device is not supported"),
    ],
)
def test_what_is_understood_but_not_done_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NotSupportedError, match=reason):
        apply(text)


@pytest.mark.parametrize(
    ("flag", "entitlement"),
    [("--security=insecure", "security.insecure"), ("--network=host", "network.host")],
)
def test_what_needs_an_entitlement(flag: str, entitlement: str) -> None:
    text = f"line 2: RUN {flag} is not allowed: build with --allow {entitlement}"
    with pytest.raises(ForbiddenError, match=text):
        apply(f"RUN {flag} x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("EXPOSE 99999", "on line 2: invalid port"),
        ("STOPSIGNAL SIGNOPE", "on line 2: invalid signal: SIGNOPE"),
        ("USER ${X?no user}", "on line 2: .*X: no user"),
        ("WORKDIR $NONE", "on line 2: WORKDIR expands to nothing"),
        ("ADD --checksum=sha256:0 a /b", "--checksum is only for downloads"),
        ("ADD --checksum=sha256:0 http://a/b http://a/c /b", "specified for multiple sources"),
        ("ADD --checksum=sha256:0 http://a/b /b", "ADD http://a/b: invalid checksum digest"),
        ("ADD https://a/b.git?nosuch=1 /b", 'unexpected query "nosuch"'),
    ],
)
def test_wrong_values_name_their_line(text: str, reason: str) -> None:
    with pytest.raises(DockerfileError, match=reason):
        apply(text)


def test_signals() -> None:
    for text in ("SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-1"):
        assert is_signal(text)
    for text in ("", "0", "SIGRTMIN+99", "SIG", "-1", "x"):
        assert not is_signal(text)


def test_times_of_the_history_come_from_layers() -> None:
    base = ImageConfig(
        created="2020-01-01T00:00:00Z",
        rootfs=RootFS(),
        history=[History(created="2020-01-01T00:00:00Z", created_by="base")],
    )
    state = image_state("sha256:0", base, [], AMD64)
    assert state.unchanged_id == "sha256:0"
    state.note("LABEL a=b")
    assert state.unchanged_id == ""
    assert state.image_config(None).created == "2020-01-01T00:00:00Z"
    assert state.image_config(0).history[-1].created == "1970-01-01T00:00:00.000000000Z"
