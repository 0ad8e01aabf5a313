"""Whole builds with a runner that changes the layer's folder instead of starting a container."""

import errno
import io
import json
import os
import stat
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.builder.builder import Builder
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.events import CacheMiss, Notice, Output, StepStarted, Warned
from kedge.builder.failures import BuildCancelledError, StepFailedError
from kedge.builder.files.tar import read_tar
from kedge.builder.request import BuildRequest, BuildResult
from kedge.errdefs import (
    InvalidParameterError,
    KedgeError,
    NotFoundError,
    NotSupportedError,
    SystemFailureError,
)
from kedge.lib.database import Database
from kedge.lib.hostcerts import CONTAINER_PATH, HINT
from kedge.snapshots.overlay import OverlaySnapshotter
from kedge.snapshots.vfs import VfsSnapshotter
from tests.builders import Engine, open_engine

pytestmark = pytest.mark.integration


@pytest.fixture(params=[OverlaySnapshotter, VfsSnapshotter], ids=["overlay", "vfs"])
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    with open_engine(tmp_path, request.param) as engine:
        yield engine


APP = """\
FROM scratch
ARG V=1
WORKDIR /app
COPY requirements.txt .
RUN write /lib/dep $V
COPY . .
EXPOSE 5000
CMD ["python", "app.py"]
"""


@pytest.fixture
def app(engine: Engine) -> Engine:
    (engine.context / "requirements.txt").write_text("flask\n")
    (engine.context / "app.py").write_text("print(1)\n")
    (engine.context / ".dockerignore").write_text("*.log\nDockerfile\n.dockerignore\n")
    return engine


# The expectations people have of a cache.


def test_an_identical_build_is_all_hits_and_the_same_image(app: Engine) -> None:
    first = app.build(APP, tags=("app",))
    assert first.executed_steps == 4
    second = app.build(APP, tags=("app",))
    assert (second.executed_steps, second.cached_steps, app.hits()) == (0, 4, 4)
    assert second.image_id == first.image_id
    assert app.images.resolve("app:latest").id == first.image_id
    assert len(app.runner.specs) == 1


def test_touch_is_a_hit_and_an_edit_is_a_miss_from_there(app: Engine) -> None:
    first = app.build(APP)
    os.utime(app.context / "app.py", (1, 1))
    assert app.build(APP).image_id == first.image_id
    (app.context / "app.py").write_text("print(2)\n")
    edited = app.build(APP)
    assert (edited.cached_steps, edited.executed_steps) == (3, 1)
    (app.context / "app.py").write_text("print(1)\n")
    assert app.build(APP).image_id == first.image_id
    (app.context / "requirements.txt").write_text("django\n")
    assert app.build(APP).executed_steps == 3


def test_chmod_is_a_miss_and_an_ignored_file_a_hit(app: Engine) -> None:
    app.build(APP)
    (app.context / "debug.log").write_text("noise")
    assert app.build(APP).executed_steps == 0
    (app.context / "app.py").chmod(0o755)
    assert app.build(APP).executed_steps == 1


def test_a_build_argument_misses_from_its_first_run_on(app: Engine) -> None:
    app.build(APP)
    changed = app.build(APP, build_args={"V": "2"})
    assert (changed.cached_steps, changed.executed_steps) == (2, 2)
    assert app.listing(changed)["lib/dep"].endswith(" 2")
    assert app.build(APP, build_args={"HTTP_PROXY": "http://p"}).executed_steps == 0


def test_metadata_at_the_top_does_not_run_anything_again(app: Engine) -> None:
    app.build(APP)
    labelled = app.build(APP.replace("ARG", "LABEL a=b\nARG"), labels={"x": "y"})
    assert labelled.executed_steps == 0
    assert app.image(labelled).config.config.labels == {"a": "b", "x": "y"}


def test_changed_commands_and_unused_stages(app: Engine) -> None:
    staged = APP.replace("FROM scratch", "FROM scratch AS unused\nRUN fail 1 never\nFROM scratch")
    app.build(staged)
    assert app.build(staged.replace("never", "still never")).executed_steps == 0
    assert app.build(staged.replace("write /lib/dep", "write /lib/other")).executed_steps == 2


def test_no_cache_makes_everything_anew_and_remembers_it(app: Engine) -> None:
    app.build(APP)
    assert app.build(APP, no_cache=True).executed_steps == 4
    assert app.build(APP).executed_steps == 0


def test_a_failing_run_keeps_what_came_before(app: Engine) -> None:
    broken = APP.replace("write /lib/dep $V", "fail 7 it broke")
    with pytest.raises(StepFailedError) as caught:
        app.build(broken)
    assert str(caught.value) == (
        "The command '/bin/sh -c fail 7 it broke' returned a non-zero code: 7"
    )
    assert caught.value.exit_code == 7
    assert app.build(APP).cached_steps == 2


def test_a_layer_that_is_gone_is_no_hit(app: Engine) -> None:
    first = app.build(APP)
    top = app.image(first).layers[-1]
    app.images.remove(first.image_id, users=lambda _: [])
    assert app.build(APP).executed_steps == 0, "the cache keeps its layers"
    assert top.blob is not None
    app.images.content.remove(top.blob.digest)
    assert app.build(APP).executed_steps == 1


def test_garbage_collection_leaves_the_cache_alone(app: Engine) -> None:
    with pytest.raises(StepFailedError):
        app.build(APP.replace("CMD", "RUN fail 1 x\nCMD"))
    app.images.collect_garbage()
    assert app.build(APP).executed_steps == 0


def test_forgotten_records_free_their_layers(app: Engine) -> None:
    first = app.build(APP)
    records = app.builder.cache.records()
    assert [record.step.split()[0] for record in records] == ["WORKDIR", "COPY", "RUN", "COPY"]
    app.builder.cache.forget(*(record.key for record in records), now_ns=1)
    app.images.collect_garbage()
    top = app.image(first).layers[-1].blob
    assert top is not None
    assert app.images.content.exists(top.digest)
    app.images.remove(first.image_id, users=lambda _: [])
    app.images.collect_garbage()
    assert list(app.snapshots.walk()) == []
    assert list(app.images.content.walk()) == []
    assert app.build(APP).executed_steps == 4


def test_equal_layers_are_kept_once(engine: Engine) -> None:
    (engine.context / "f").write_text("same")
    first = engine.image(engine.build("FROM scratch\nCOPY f /g\n"))
    second = engine.image(engine.build("FROM scratch\nENV A=1\nCOPY --chmod=644 f /g\n"))
    assert second.id != first.id
    assert second.layers == first.layers
    assert len(list(engine.snapshots.walk())) == 1


# Instructions.


def test_configuration_and_history(app: Engine) -> None:
    image = app.image(app.build(APP))
    config = json.loads(app.images.config_bytes(image.id))
    assert config["config"]["Cmd"] == ["python", "app.py"]
    assert config["config"]["WorkingDir"] == "/app"
    assert config["os"] == "linux"
    assert len(config["rootfs"]["diff_ids"]) == 4
    history = [(each["created_by"], each.get("empty_layer", False)) for each in config["history"]]
    assert history == [
        ("ARG V=1", True),
        ("WORKDIR /app", False),
        ("COPY requirements.txt . # buildkit", False),
        ("RUN |1 V=1 /bin/sh -c write /lib/dep $V # buildkit", False),
        ("COPY . . # buildkit", False),
        ("EXPOSE [5000/tcp]", True),
        ('CMD ["python" "app.py"]', True),
    ]
    assert config["created"] == config["history"][-1]["created"] == config["history"][4]["created"]


def test_source_date_epoch_makes_builds_reproducible(app: Engine) -> None:
    arguments = {"SOURCE_DATE_EPOCH": "1700000000"}
    first = app.build(APP, build_args=arguments)
    started = time.time_ns()
    while time.time_ns() // 10**9 == started // 10**9:
        time.sleep(0.02)  # files made by the second build get another second
    os.utime(app.context / "app.py", (5, 5))
    second = app.build(APP, build_args=arguments, no_cache=True)
    assert second.image_id == first.image_id
    assert app.image(first).config.created == "2023-11-14T22:13:20.000000000Z"


def test_source_date_epoch_of_the_context(app: Engine) -> None:
    seconds = 1_500_000_000
    for path in app.context.iterdir():
        os.utime(path, (seconds, seconds))
    os.utime(app.context / "app.py", (seconds + 60, seconds + 60))
    # The file that names the time is no part of what it is the time of.
    (app.context / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
    made = app.build(APP, build_args={"SOURCE_DATE_EPOCH": "context"})
    assert app.image(made).config.created == "2017-07-14T02:41:00.000000000Z"
    with pytest.raises(DockerfileError, match="SOURCE_DATE_EPOCH elsewhere: use seconds"):
        app.build(APP, build_args={"SOURCE_DATE_EPOCH": "elsewhere"})


def test_what_a_run_is_given(app: Engine) -> None:
    (app.context / "passwd").write_text("me:x:7:8::/:/bin/sh\n")
    app.build(
        "FROM scratch\nCOPY passwd /etc/\nARG A=1\nENV B=2 PIP_CERT=/own\nUSER me\nWORKDIR /w\n"
        "RUN <<EOF\n#!/x\nhi\nEOF\n",
        build_args={"https_proxy": "http://p"},
        host_certs="/etc/hostname",
        extra_hosts=("db:10.0.0.1",),
        network_mode="none",
    )
    spec = app.runner.specs[-1]
    assert spec.args == ("/bin/sh", "-c", "/dev/pipes/EOF")
    assert (spec.cwd, spec.user, spec.network, spec.hostname) == (
        "/w",
        "me",
        "none",
        "buildkitsandbox",
    )
    environment = dict(item.split("=", 1) for item in spec.env)
    assert environment["A"] == "1"
    assert environment["B"] == "2"
    assert environment["https_proxy"] == environment["HTTPS_PROXY"] == "http://p"
    assert environment["PIP_CERT"] == "/own"
    assert environment["SSL_CERT_FILE"] == CONTAINER_PATH
    assert [mount.destination for mount in spec.mounts] == [CONTAINER_PATH, "/dev/pipes/EOF"]
    assert all("ro" in mount.options for mount in spec.mounts)
    assert spec.extra_hosts == ("db:10.0.0.1",)


def test_host_certificates_leave_no_trace(app: Engine) -> None:
    plain = app.build(APP)
    with_certs = app.build(APP, host_certs="/etc/hostname", no_cache=True)
    notices = [event.text for event in app.events if isinstance(event, Notice)]
    assert notices == ["RUN steps trust the certificate authorities of this host"]
    assert app.build(APP).executed_steps == 0
    text = app.images.config_bytes(with_certs.image_id) + app.images.config_bytes(plain.image_id)
    assert b"CERT" not in text
    assert b"kedge-host" not in text


def test_a_tls_failure_gets_a_hint_only_without_host_certificates(app: Engine) -> None:
    broken = "FROM scratch\nRUN fail 1 SSL: CERTIFICATE_VERIFY_FAILED\n"
    with pytest.raises(StepFailedError):
        app.build(broken)
    assert Notice(text=HINT) in app.events
    with pytest.raises(StepFailedError):
        app.build(broken, host_certs="/etc/hostname")
    assert Notice(text=HINT) not in app.events


def test_output_arrives_as_text_whatever_the_pieces(app: Engine) -> None:
    app.build("FROM scratch\nRUN true\n")
    assert "".join(event.text for event in app.events if isinstance(event, Output)) == "rané\n"


def test_mountpoints_do_not_stay_in_the_layer(engine: Engine) -> None:
    (engine.context / "hostname").write_text("x")
    result = engine.build("FROM scratch\nCOPY hostname /etc/\nRUN stub\n")
    assert engine.listing(result) == {
        "etc": "directory 755 0:0",
        "etc/hostname": "regular file 644 0:0 x",
    }
    again = engine.build("FROM scratch\nRUN stub\n")
    # Without an /etc below, the one the stub needed stays: somebody else may have made it.
    assert list(engine.listing(again)) == ["etc"]


def test_copy_of_files_folders_and_links(engine: Engine) -> None:
    source = engine.context / "src"
    (source / "deep").mkdir(parents=True)
    (source / "deep/file").write_text("deep")
    (source / "run.sh").write_text("run")
    (source / "run.sh").chmod(0o750)
    (source / "link").symlink_to("deep/file")
    os.chown(source / "run.sh", 1000, 1000)
    result = engine.build(
        "FROM scratch\nWORKDIR /w\nCOPY src /all\nCOPY src/run.sh name\n"
        "COPY src/*.sh src/deep in/\n"
        "COPY src/link followed\nCOPY --chown=3:4 --chmod=600 src/run.sh /own/\n"
        "COPY --parents src/./deep/file /kept/\nCOPY --exclude=*.sh src /some\n"
    )
    listing = engine.listing(result)
    assert listing["all/deep/file"] == "regular file 644 0:0 deep"
    assert listing["all/run.sh"] == "regular file 750 0:0 run"
    assert listing["all/link"] == "symbolic link 777 0:0 -> deep/file"
    assert listing["w/name"] == "regular file 750 0:0 run"
    assert sorted(name for name in listing if name.startswith("w/in")) == [
        "w/in",
        "w/in/file",
        "w/in/run.sh",
    ]
    assert listing["w/followed"] == "regular file 644 0:0 deep"
    assert listing["own"] == "directory 755 3:4"
    assert listing["own/run.sh"] == "regular file 600 3:4 run"
    assert listing["kept/deep/file"] == "regular file 644 0:0 deep"
    assert sorted(name for name in listing if name.startswith("some")) == [
        "some",
        "some/deep",
        "some/deep/file",
        "some/link",
    ]


def test_copy_keeps_what_is_below_and_follows_its_links_inside(engine: Engine) -> None:
    base = engine.context / "base"
    (base / "usr/bin").mkdir(parents=True)
    (base / "usr/bin").chmod(0o711)
    os.utime(base / "usr/bin", (1000, 1000))
    (base / "bin").symlink_to("usr/bin")
    (base / "escape").symlink_to("../../../../../tmp")
    (engine.context / "tool").write_text("tool")
    result = engine.build(
        "FROM scratch\nCOPY base /\nCOPY tool /bin/\nCOPY tool /escape/kedge-test-escape\n"
    )
    listing = engine.listing(result)
    assert listing["bin"] == "symbolic link 777 0:0 -> usr/bin"
    assert listing["usr/bin"] == "directory 711 0:0"
    assert listing["usr/bin/tool"] == "regular file 644 0:0 tool"
    assert listing["tmp/kedge-test-escape"] == "regular file 644 0:0 tool"
    assert not Path("/tmp/kedge-test-escape").exists()
    with engine.files(result) as tree:
        entry = tree.entry("usr/bin")
    assert entry is not None
    assert entry.mtime_ns == 1_000_000_000_000


def test_copy_from_stages_and_images(engine: Engine) -> None:
    engine.build("FROM scratch\nRUN write /data/file base\n", tags=("base:1",))
    result = engine.build(
        "FROM scratch AS one\nRUN write /x one\nFROM base:1 AS two\nCOPY --from=one /x /from-one\n"
        "FROM scratch\nCOPY --from=1 / /\nCOPY --from=base:1 data/f* /image\n",
        pull=True,
    )
    listing = engine.listing(result)
    assert listing["from-one"].endswith(" one")
    assert listing["data/file"].endswith(" base")
    assert listing["image"].endswith(" base")
    assert engine.resolver.pulls[-1] is True


def test_owners_by_name_are_those_of_the_image(engine: Engine) -> None:
    (engine.context / "passwd").write_text("web:x:33:44::/:/bin/sh\n")
    (engine.context / "group").write_text("staff:x:50:\n")
    text = (
        "FROM scratch\nCOPY passwd group /etc/\nCOPY --chown=web:staff passwd /p\n"
        "USER web\nWORKDIR /h\n"
    )
    listing = engine.listing(engine.build(text))
    assert listing["p"].startswith("regular file 644 33:50")
    assert listing["h"] == "directory 755 33:44"
    with pytest.raises(InvalidParameterError, match="unable to find user nobody"):
        engine.build(text.replace("web:staff", "nobody"))


def test_add_unpacks_archives_with_their_owners(engine: Engine) -> None:
    with tarfile.open(engine.context / "a.tar.gz", "w:gz") as archive:
        for name, content in (("dir/file", b"packed"), ("../../outside", b"clipped")):
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.size = 5, 6, len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("dir/abs")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (engine.context / "plain").write_text("BZh no archive")
    (engine.context / "plain.tar").write_text("kept")
    listing = engine.listing(
        engine.build(
            "FROM scratch\nADD a.tar.gz /x\nADD --chown=7:8 a.tar.gz /own/\nADD plain /p/\n"
            "ADD --unpack=false plain.tar /kept/\n"
        )
    )
    assert listing["x/dir/file"] == "regular file 644 5:6 packed"
    assert listing["x/outside"] == "regular file 644 5:6 clipped"
    assert listing["x/dir/abs"].endswith("-> /etc/passwd")
    assert listing["own/dir/file"] == "regular file 644 7:8 packed"
    assert listing["p/plain"] == "regular file 644 0:0 BZh no archive"
    assert listing["kept/plain.tar"] == "regular file 644 0:0 kept"


def test_here_documents_become_files(engine: Engine) -> None:
    result = engine.build(
        "FROM scratch\nARG V=1\nCOPY <<one <<'two' /in/\n\"$V\"\none\n$V\ntwo\n"
        "COPY <<X /conf\n$V\nX\n"
    )
    listing = engine.listing(result)
    assert listing["in/one"] == 'regular file 644 0:0 "1"\n'
    assert listing["in/two"] == "regular file 644 0:0 $V\n"
    assert listing["conf"] == "regular file 644 0:0 1\n"


def test_triggers_run_in_the_child_and_are_gone_after(engine: Engine) -> None:
    engine.build("FROM scratch\nONBUILD RUN write /t $V\nONBUILD ENV T=1\n", tags=("parent",))
    (engine.context / "t").write_text("x")
    image = engine.image(engine.build("FROM parent\nENV U=$T\n"))
    assert image.config.config.env[1:] == ["T=1", "U=1"]
    assert image.config.config.on_build == []
    assert len(engine.runner.specs) == 1


def test_an_untouched_base_image_is_itself(engine: Engine) -> None:
    base = engine.build("FROM scratch\nRUN write /a b\n", tags=("base",))
    same = engine.build("FROM base\n", tags=("other:2",))
    assert same.image_id == base.image_id
    assert engine.images.resolve("other:2").id == base.image_id


def test_a_context_that_is_a_tar_stream(app: Engine) -> None:
    stream = io.BytesIO()
    (app.context / "Dockerfile").write_text(APP)
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in sorted(os.listdir(app.context)):
            archive.add(app.context / name, name)
    stream.seek(0)
    first = app.build(APP)
    with read_tar(stream, scratch=str(app.root / "scratch")) as context:
        result = app.builder.build(
            BuildRequest(context=context), app.events.append, threading.Event()
        )
    assert result.image_id == first.image_id


def test_the_ignore_file_of_the_dockerfile_wins(app: Engine) -> None:
    (app.context / "x.log").write_text("log")
    (app.context / "docker").mkdir()
    (app.context / "docker/Some.dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (app.context / "docker/Some.dockerfile.dockerignore").write_text("*\n!x.log\n")
    with app.builder.open_directory(str(app.context)) as context:
        request = BuildRequest(context=context, dockerfile="docker/Some.dockerfile")
        result = app.builder.build(request, app.events.append, threading.Event())
    assert list(app.listing(result)) == ["x.log"]


# Bad input and bad luck.


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("FORM x\n", InvalidParameterError, r"on line 1: .*did you mean FROM\?"),
        ("FROM missing:1\n", NotFoundError, "No such image: missing:1"),
        ("FROM scratch\nCOPY nope /\n", NotFoundError, "stat nope: file does not exist"),
        ("FROM scratch\nCOPY *.py app.py /x\n", InvalidParameterError, "must be a directory and"),
        ("FROM scratch\nCOPY app.py /\nCOPY app.py /app.py/\n", InvalidParameterError, "non-dir"),
        (
            "FROM scratch\nWORKDIR /d\nCOPY app.py /d/..\nCOPY --chmod=9 app.py /\n",
            KedgeError,
            "chmod",
        ),
        ("FROM scratch\nCOPY app.py /f\nWORKDIR /f\n", InvalidParameterError, "is no directory"),
        (
            "FROM --platform=linux/s390x scratch\nRUN x\n",
            NotSupportedError,
            "RUN needs linux/s390x",
        ),
        ("# syntax=vendor/other:1\nFROM scratch\n", NotSupportedError, "syntax vendor/other:1"),
        ('FROM scratch\nCOPY ["a\n', InvalidParameterError, "at least two arguments"),
    ],
)
def test_failures_are_one_line(app: Engine, text: str, kind: type[KedgeError], reason: str) -> None:
    (app.context / "b.py").write_text("x")
    with pytest.raises(kind, match=reason) as caught:
        app.build(text)
    assert "\n" not in str(caught.value)


def test_a_missing_dockerfile_and_a_bad_tag(engine: Engine) -> None:
    with engine.builder.open_directory(str(engine.context)) as context:
        with pytest.raises(InvalidParameterError, match="Cannot locate specified Dockerfile: X"):
            engine.builder.build(
                BuildRequest(context=context, dockerfile="X"), print, threading.Event()
            )
        with pytest.raises(InvalidParameterError):
            engine.builder.build(BuildRequest(tags=("UPPER",)), print, threading.Event())
    with pytest.raises(InvalidParameterError, match="need a build context"):
        engine.builder.build(
            BuildRequest(dockerfile_text="FROM scratch\nCOPY a b\n"), print, threading.Event()
        )


def test_cancelling_inside_a_step(app: Engine) -> None:
    with pytest.raises(BuildCancelledError):
        app.build(APP.replace("write /lib/dep $V", "cancel"))
    assert app.build(APP).cached_steps == 2


def test_unconsumed_arguments_are_warned_about(app: Engine) -> None:
    app.build(APP, build_args={"X": "1", "V": "1"})
    warnings = [event.text for event in app.events if isinstance(event, Warned)]
    assert warnings == ["One or more build-args [X] were not consumed"]


def test_steps_are_counted_over_the_stages_that_are_needed(app: Engine) -> None:
    app.build("ARG G\nFROM scratch AS unused\nRUN x\nFROM scratch\nENV A=1\nENV B=2\n")
    steps = [event for event in app.events if isinstance(event, StepStarted)]
    assert [(step.number, step.total) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert steps[1].text == "FROM scratch"


def test_text_that_is_no_unicode_makes_a_valid_image(engine: Engine) -> None:
    (engine.context / "Dockerfile").write_bytes(
        b'FROM scratch\nENV A=\xff\nCMD ["\\ud800", "\\ud83d\\ude00"]\n'
    )
    with engine.builder.open_directory(str(engine.context)) as context:
        result = engine.builder.build(
            BuildRequest(context=context), engine.events.append, threading.Event()
        )
    config = engine.image(result).config.config
    assert config.env[1:] == ["A=\ufffd"]
    assert config.cmd == ["\ufffd", "\U0001f600"]


def test_a_context_nested_too_deeply_is_refused(engine: Engine) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("d/" * 2000 + "f"))
    stream.seek(0)
    with pytest.raises(InvalidParameterError, match="nested too deeply"):
        engine.builder.read_tar(stream)


def test_a_full_disk_fails_in_one_line(app: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "sendfile", full)
        with pytest.raises(SystemFailureError, match=r"COPY .*: No space left on device"):
            app.build(APP)
    assert app.build(APP).cached_steps == 1


def test_what_a_killed_engine_left_is_removed(engine: Engine, tmp_path: Path) -> None:
    engine.snapshots.prepare("build-0123", None)
    database = Database(str(tmp_path / "other.db"))
    Builder(
        database,
        engine.images.content,
        engine.images,
        engine.snapshots,
        engine.runner,
        engine.resolver,
        scratch=str(tmp_path / "scratch"),
    )
    database.close()
    assert list(engine.snapshots.walk()) == []


def test_special_files_and_modes_survive_copies_between_stages(engine: Engine) -> None:
    source = engine.context / "s"
    source.mkdir()
    os.mkfifo(source / "fifo", 0o640)
    (source / "suid").write_text("x")
    (source / "suid").chmod(0o4755)
    os.setxattr(source / "suid", "user.note", b"kept")
    result = engine.build(
        "FROM scratch AS a\nCOPY --chown=9:9 s /s\nFROM scratch\nCOPY --from=a /s /t\n"
    )
    with engine.files(result) as tree:
        suid = tree.entry("t/suid")
        fifo = tree.entry("t/fifo")
    assert suid is not None
    assert fifo is not None
    assert stat.S_IMODE(suid.mode) == 0o4755
    assert (suid.uid, dict(suid.xattrs)) == (9, {"user.note": b"kept"})
    assert fifo.mode == 0o640


def test_equal_steps_of_concurrent_builds_run_once(engine: Engine) -> None:
    text = "FROM scratch AS a\nRUN write /a 1\nFROM scratch\nRUN write /a 1\nCOPY --from=a / /x/\n"
    results: list[BuildResult] = []

    def build() -> None:
        request = BuildRequest(dockerfile_text=text)
        results.append(engine.builder.build(request, engine.events.append, threading.Event()))

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(engine.runner.specs) == 1
    assert len({result.image_id for result in results}) == 1


def misses(engine: Engine) -> list[str]:
    return [event.reason for event in engine.events if isinstance(event, CacheMiss)]


def test_a_miss_says_why(app: Engine) -> None:
    text = "FROM scratch\nARG V=1\nENV E=a\nRUN write /a $V\nCOPY app.py /x/\n"
    app.build(text)
    assert misses(app) == []
    app.build(text, build_args={"V": "2"})
    assert misses(app) == ["ARG V: 1 → 2"]
    app.build(text.replace("E=a", "E=b"))
    assert misses(app) == ["ENV E: a → b"]
    (app.context / "app.py").write_text("print(2)\n")
    app.build(text)
    [reason] = misses(app)
    assert reason.startswith("COPY app.py: changed, ")
    assert " → " in reason
    app.build(text.replace("COPY", "COPY --chown=5"))
    assert misses(app) == ['COPY owner: unset → "5"']


def test_a_failing_line_is_shown_between_its_neighbours(app: Engine) -> None:
    with pytest.raises(StepFailedError):
        app.build("FROM scratch\nENV A=1\nRUN fail 3 no\nCMD x\n")
    notes = [event.text for event in app.events if isinstance(event, Notice)]
    assert notes == ["Dockerfile:3\n       2 | ENV A=1\n>>>    3 | RUN fail 3 no\n       4 | CMD x"]


def test_what_an_ignore_file_leaves_out_is_said(app: Engine) -> None:
    (app.context / "big.log").write_text("x")
    with pytest.raises(NotFoundError, match=r"the ignore file leaves it out: \*\.log"):
        app.build("FROM scratch\nCOPY big.log /\n")
