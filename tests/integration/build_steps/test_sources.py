"""Builds from named contexts, downloads and git repositories, served on loopback."""

import bz2
import gzip
import hashlib
import http.server
import io
import lzma
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kedge.builder.contexts import (
    ImageContext,
    NamedContext,
    RemoteContext,
    ResultContext,
    TreeContext,
)
from kedge.builder.events import Warned
from kedge.builder.files.tree import MemoryTree
from kedge.builder.request import BuildRequest, BuildResult
from kedge.builder.run_mounts import Lent
from kedge.builder.steps import BaseImage
from kedge.errdefs import InvalidParameterError, KedgeError, NotFoundError, NotSupportedError
from kedge.lib.clock import format_rfc3339
from kedge.oci.platforms import host_platform
from tests.builders import Engine, open_engine

pytestmark = pytest.mark.integration


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with open_engine(tmp_path) as engine:
        yield engine


@dataclass
class Site:
    """A web server: files by path, and the requests it got."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    folder: Path | None = None
    seen: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    authorization: str = ""


@pytest.fixture(name="site")
def serve() -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            content = site.files.get(path)
            below = site.folder / path.lstrip("/") if site.folder is not None else None
            if content is None and below is not None and below.is_file():
                content = below.read_bytes()
            tag = f'"{hashlib.sha256(content or b"").hexdigest()}"'
            status = 200 if content is not None else 404
            if site.authorization and self.headers.get("authorization") != site.authorization:
                status = 401
            elif self.headers.get("if-none-match") == tag:
                status = 304
            site.seen.append((path, status))
            self.send_response(status)
            self.send_header("ETag", tag)
            self.send_header("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")
            body = content if status == 200 and content is not None else b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


def build(engine: Engine, dockerfile: str, **options: object) -> BuildResult:
    """Build without any context but the Dockerfile's text."""
    engine.events.clear()
    request = BuildRequest(dockerfile_text=dockerfile, **options)  # type: ignore[arg-type]
    return engine.builder.build(request, engine.events.append, threading.Event())


def failure(engine: Engine, kind: type[KedgeError], dockerfile: str, **options: object) -> str:
    with pytest.raises(kind) as caught:
        build(engine, dockerfile, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tree_context(**files: str) -> TreeContext:
    contents = {name.replace("_", "."): text.encode() for name, text in files.items()}
    return TreeContext(open=lambda: MemoryTree(contents))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def archive(compression: str = "gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("in/a.txt")
        info.size, info.uid = 3, 7
        tar.addfile(info, io.BytesIO(b"abc"))
    return PACKERS[compression](stream.getvalue())


# Named contexts.


def test_a_context_of_files_serves_copy_from_mount_and_stage(engine: Engine) -> None:
    contexts: dict[str, NamedContext] = {
        "src": tree_context(a_txt="1"),
        "base": tree_context(b="2"),
    }
    made = build(
        engine,
        "FROM base\nCOPY --from=src a.txt /x/\nRUN --mount=from=src,target=/m write /r done\n",
        contexts=contexts,
    )
    assert engine.listing(made) == {
        "b": "regular file 644 0:0 2", "r": "regular file 644 0:0 done",
        "x": "directory 755 0:0", "x/a.txt": "regular file 644 0:0 1",
    }  # fmt: skip
    contexts["src"] = tree_context(a_txt="3")
    again = build(engine, "FROM base\nCOPY --from=src a.txt /x/\n", contexts=contexts)
    assert (again.cached_steps, again.executed_steps) == (1, 1)


def test_a_context_is_opened_only_when_it_is_used(engine: Engine) -> None:
    def fail() -> MemoryTree:
        raise AssertionError

    made = build(engine, "FROM scratch\nLABEL a=b\n", contexts={"src": TreeContext(open=fail)})
    assert engine.image(made).config.config.labels == {"a": "b"}


def test_an_ignore_file_of_a_context_counts_in_it(engine: Engine) -> None:
    src = tree_context(a="1", b="2", _dockerignore="b\n.dockerignore\n")
    made = build(engine, "FROM scratch\nCOPY --from=src . /\n", contexts={"src": src})
    assert list(engine.listing(made)) == ["a"]


def test_an_image_and_a_result_replace_a_stage(engine: Engine) -> None:
    base = build(
        engine, "FROM scratch\nENV A=1\nRUN write /from base\nONBUILD ENV B=2\n", tags=("base",)
    )
    image = engine.images.resolve("base")
    file = "FROM nosuch AS first\nRUN fail 1 never\nFROM first\nCOPY --from=first /from /copy\n"
    for context in (ImageContext(reference="base"), ResultContext(image=BaseImage.of(image))):
        made = build(engine, file, contexts={"first": context})
        assert set(engine.listing(made)) == {"from", "copy"}
        assert "B=2" in engine.image(made).config.config.env
    assert base.image_id == image.id


def test_a_base_for_another_platform_is_warned_about(engine: Engine) -> None:
    build(engine, "FROM --platform=linux/s390x scratch AS s390x\nLABEL a=b\n", tags=("other",))
    other = ResultContext(image=BaseImage.of(engine.images.resolve("other")))
    build(engine, "FROM base\nLABEL c=d\n", contexts={"base": other})
    host = str(host_platform())
    warned = [event.text for event in engine.events if isinstance(event, Warned)]
    assert warned == [
        (
            'InvalidBaseImagePlatform: Base image base was pulled with platform "linux/s390x", '
            f'expected "{host}" for current build (line 1)'
        )
    ]
    quiet = "# check=skip=InvalidBaseImagePlatform\nFROM base\nLABEL c=d\n"
    build(engine, quiet, contexts={"base": other})
    assert not [event for event in engine.events if isinstance(event, Warned)]


# ADD of downloads.


def test_add_fetches_a_file_as_docker_does(engine: Engine, site: Site) -> None:
    site.files["/dir/tool.sh"] = b"#!/bin/sh\n"
    made = build(
        engine,
        f"FROM scratch\nADD {site.url}/dir/tool.sh?x=1 /bin/\nADD --chmod=755 --chown=3:4 "
        f"{site.url}/dir/tool.sh /t\n",
    )
    with engine.files(made) as tree:
        entry = tree.entry("bin/tool.sh")
        assert entry is not None
        assert (entry.mode, entry.mtime_ns) == (0o600, 1420070400 * 10**9)
        changed = tree.entry("t")
        assert changed is not None
        assert (changed.mode, changed.uid, changed.gid) == (0o755, 3, 4)


def test_an_unchanged_file_is_not_sent_again(engine: Engine, site: Site) -> None:
    site.files["/f"] = b"1"
    file = f"FROM scratch\nADD {site.url}/f /f\n"
    build(engine, file)
    assert build(engine, file).executed_steps == 0
    assert site.seen == [("/f", 200), ("/f", 304)]
    site.files["/f"] = b"2"
    assert build(engine, file).executed_steps == 1


def test_a_checksum_is_checked_and_saves_the_question(engine: Engine, site: Site) -> None:
    site.files["/f"] = b"1"
    digest = f"sha256:{hashlib.sha256(b'1').hexdigest()}"
    file = f"FROM scratch\nARG SUM={digest}\nADD --checksum=$SUM {site.url}/f /f\n"
    build(engine, file)
    assert build(engine, file).executed_steps == 0
    assert site.seen == [("/f", 200)]
    wrong = f"sha256:{'0' * 64}"
    told = failure(
        engine, InvalidParameterError, f"FROM scratch\nADD --checksum={wrong} {site.url}/f /g\n"
    )
    assert f"digest mismatch {digest}: expected {wrong}" in told


def test_an_archive_is_unpacked_only_when_asked(engine: Engine, site: Site) -> None:
    site.files["/a.tgz"] = archive()
    kept = build(engine, f"FROM scratch\nADD {site.url}/a.tgz /\n")
    assert list(engine.listing(kept)) == ["a.tgz"]
    unpacked = build(engine, f"FROM scratch\nADD --unpack {site.url}/a.tgz /d/\n")
    assert engine.listing(unpacked)["d/in/a.txt"] == "regular file 644 7:0 abc"


def test_credentials_go_to_their_host_only(engine: Engine, site: Site) -> None:
    site.files["/f"] = b"1"
    site.authorization = "Bearer tok"
    host = site.url.removeprefix("http://")
    file = f"FROM scratch\nADD {site.url}/f /f\n"
    assert "the server answers 401" in failure(engine, KedgeError, file)
    lent = Lent(secrets={f"HTTP_AUTH_TOKEN_{host}": b"tok\n"})
    assert build(engine, file, lent=lent).executed_steps == 1
    site.authorization = "Basic dTpw"
    told = failure(engine, NotFoundError, f"FROM scratch\nADD http://u:p@{host}/none /f\n")
    assert "u:p" not in told


def test_a_missing_file_and_a_missing_server_are_one_line(engine: Engine, site: Site) -> None:
    told = failure(engine, NotFoundError, f"FROM scratch\nADD {site.url}/none /f\n")
    assert told == f"cannot fetch {site.url}/none: the server answers 404 Not Found"
    told = failure(engine, KedgeError, "FROM scratch\nADD http://127.0.0.1:1/x /f\n")
    assert "cannot reach server 127.0.0.1:1" in told


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_local_archives_are_unpacked(engine: Engine, compression: str) -> None:
    (engine.context / "a.bin").write_bytes(archive(compression))
    made = engine.build("FROM scratch\nADD a.bin /d\n")
    assert engine.listing(made)["d/in/a.txt"] == "regular file 644 7:0 abc"
    kept = engine.build("FROM scratch\nADD --unpack=false a.bin /d\n")
    assert list(engine.listing(kept)) == ["d"]


# Git.


def git(folder: Path, *words: str) -> str:
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x",
        "GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x",
    }  # fmt: skip
    done = subprocess.run(
        ["git", *words], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@dataclass
class Repository:
    work: Path
    url: str

    def commit(self, text: str, *words: str) -> str:
        (self.work / "web").mkdir(exist_ok=True)
        (self.work / "web/index.html").write_text(text)
        (self.work / "Dockerfile").write_text("FROM scratch\nCOPY web /web\n")
        (self.work / "run.sh").write_text("#!/bin/sh\n")
        (self.work / "run.sh").chmod(0o775)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-qm", text)
        for word in words:
            git(self.work, "tag", "-am", word, word)
        git(self.work, "update-server-info")
        return git(self.work, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, site: Site) -> Repository:
    work = tmp_path / "served"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    (work / ".git/hooks/post-update").unlink(missing_ok=True)
    link = tmp_path / "site"
    link.mkdir()
    (link / "app.git").symlink_to(work / ".git")
    site.folder = link
    return Repository(work, f"{site.url}/app.git")


def test_add_of_a_repository(engine: Engine, repository: Repository) -> None:
    first = repository.commit("one", "v1")
    repository.commit("two")
    made = build(engine, f"FROM scratch\nADD {repository.url} /all\n")
    assert engine.listing(made) == {
        "all": "directory 755 0:0",
        "all/Dockerfile": "regular file 644 0:0 FROM scratch\nCOPY web /web\n",
        "all/run.sh": "regular file 755 0:0 #!/bin/sh\n",
        "all/web": "directory 755 0:0",
        "all/web/index.html": "regular file 644 0:0 two",
    }
    for spelling in (
        "#v1:web",
        "?tag=v1&subdir=web",
        f"#{first}:web",
        f"?ref=v1&checksum={first[:9]}&subdir=web",
    ):
        made = build(engine, f"FROM scratch\nADD {repository.url}{spelling} /w\n")
        assert engine.listing(made)["w/index.html"] == "regular file 644 0:0 one"


def test_an_unchanged_repository_is_not_fetched_again(
    engine: Engine, repository: Repository, site: Site
) -> None:
    commit = repository.commit("one")
    file = f"FROM scratch\nADD {repository.url}#main /w\n"
    build(engine, file)
    site.seen.clear()
    assert build(engine, file).executed_steps == 0
    assert not [path for path, _ in site.seen if "/objects/" in path and "info" not in path]
    site.seen.clear()
    assert build(engine, f"FROM scratch\nADD {repository.url}#{commit} /w\n").executed_steps == 0
    assert site.seen == []
    repository.commit("two")
    assert build(engine, file).executed_steps == 1


def test_the_git_directory_is_kept_on_request(engine: Engine, repository: Repository) -> None:
    repository.commit("one")
    made = build(engine, f"FROM scratch\nADD --keep-git-dir {repository.url} /w\n")
    assert "w/.git/HEAD" in engine.listing(made)


def test_a_repository_that_has_not_what_is_asked_for(
    engine: Engine, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("one")
    url = repository.url
    for words, text in (
        (f"{url}#nosuch", f"repository {url} does not contain ref nosuch"),
        (f"{url}#{'0' * 40}", f"does not contain commit {'0' * 40}"),
        (f"{url}#main:none", f"{url} has no directory none"),
        (f"{url}#main:../..", f"{url} has no directory ../.."),
        (f"--checksum=abcd1234 {url}", "expected checksum to match abcd1234, got"),
        (f"{url}#--upload-pack=x", "invalid git reference"),
    ):
        assert text in failure(engine, KedgeError, f"FROM scratch\nADD {words} /w\n")
    monkeypatch.setenv("PATH", "/nosuch")
    told = failure(engine, NotSupportedError, f"FROM scratch\nADD {url} /w\n")
    assert "needs git where the engine runs: install git" in told


def test_contexts_from_elsewhere(engine: Engine, repository: Repository, site: Site) -> None:
    repository.commit("one")
    whole = BuildRequest(remote=f"{repository.url}#main")
    made = engine.builder.build(whole, engine.events.append, threading.Event())
    assert engine.listing(made)["web/index.html"] == "regular file 644 0:0 one"
    site.files["/Dockerfile"] = b"FROM scratch\nLABEL from=text\n"
    lone = BuildRequest(remote=f"{site.url}/Dockerfile")
    made = engine.builder.build(lone, engine.events.append, threading.Event())
    assert engine.image(made).config.config.labels == {"from": "text"}
    site.files["/c.tgz"] = archive()
    made = build(
        engine,
        "FROM git\nCOPY in /in\nCOPY --from=tgz in/a.txt /\n",
        remote=f"{site.url}/c.tgz",
        contexts={
            "git": RemoteContext(url=f"{repository.url}#main:web"),
            "tgz": RemoteContext(url=f"{site.url}/c.tgz"),
        },
    )
    epoch_s = int(git(repository.work, "show", "-s", "--format=%ct", "HEAD"))
    dated = build(
        engine,
        "FROM scratch\nLABEL dated=1\n",
        contexts={"git": RemoteContext(url=f"{repository.url}#main:web")},
        build_args={"SOURCE_DATE_EPOCH": "git"},
    )
    assert engine.image(dated).config.created == format_rfc3339(epoch_s * 1_000_000_000)
    assert engine.listing(made) == {
        "index.html": "regular file 644 0:0 one", "in": "directory 755 0:0",
        "in/a.txt": "regular file 644 0:0 abc", "a.txt": "regular file 644 0:0 abc",
    }  # fmt: skip
