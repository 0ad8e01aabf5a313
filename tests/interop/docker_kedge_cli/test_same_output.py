"""The same command line with Docker's client and with kedge, against one engine."""

import json
import re
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from kedge.cli.main import main
from tests.engine import Engine

pytestmark = pytest.mark.interop

_AGO = re.compile(
    r"(Less than a second|About a minute|\d+ \w+) ago|Up [\w ]+?(?=  |$)", re.MULTILINE
)
_SECONDS = re.compile(r"\d+ (second|minute)s?")

SAME = [
    "ps", "ps -a", "ps -aq --no-trunc", "ps -a --no-trunc", "ps -s -a", "ps -n 1",
    "ps -a --format {{.Names}}:{{.State}}:{{.LocalVolumes}}:{{.Mounts}}:{{.Networks}}",
    "ps -a --format json", "ps --format table", "ps -f name=web -f status=running -q",
    "ps --format {{.Labels}}",
    "images", "images -q", "images --digests busybox", "images --no-trunc", "images busybox",
    "images --format json", "images --format {{.Repository}}:{{.Tag}}\\t{{.Size}}",
    "image ls -f reference=other.example:5000/team/app",
    "history busybox", "history --no-trunc -q busybox", "history --format json busybox",
    "history -H=false --format {{.Size}} busybox",
    "volume ls", "volume ls -q", "volume ls --format json", "volume ls -f label=a=b",
    "volume ls --format {{.Name}}:{{.Driver}}:{{.Scope}}:{{.Labels}}:{{.Size}}",
    "volume inspect data", "volume inspect -f {{.Name}} data",
    "network ls", "network ls -q", "network ls --no-trunc", "network ls --format json",
    "network ls --format {{.Name}}:{{.Internal}}:{{.IPv6}}:{{.Labels}}",
    "network ls -f driver=null",
    "network inspect app", "network inspect -f {{.Name}}:{{.Driver}} app bridge",
    "inspect web", "inspect -f {{.State.Status}}:{{.State.ExitCode}} web job",
    "inspect -f {{json .Config.Cmd}} web",
    "inspect --type image busybox", "container inspect job", "image inspect busybox",
    "inspect -f {{range .Mounts}}{{.Name}}{{end}} web", "port web", "port web 80",
    "top web -o pid,comm", "diff web", "logs web", "logs -n 1 web",
    "system df", "system df -v", "system df --format json",
    "system df --format {{.Type}}:{{.Size}}",
    "events --since 1 --until 0s -f event=die --format {{.Actor.Attributes.name}}",
    "events --since 1 --until 0s -f event=create --format json",
    "container prune -f --filter label=nope", "image prune -f", "volume prune -f",
    "network prune -f --filter label=nope", "wait job",
    "context ls", "context show", "context inspect", "context ls --format json",
    "version -f {{.Server.Version}}:{{.Server.APIVersion}}", "info -f {{.Name}}:{{.Driver}}",
    "stop job", "start web", "rm -f nope", "volume rm -f nope",
]  # fmt: skip


@pytest.fixture
def here(
    both: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> "Kedge":
    monkeypatch.setenv("DOCKER_HOST", both.host)
    monkeypatch.delenv("KEDGE_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return Kedge(capfd)


class Kedge:
    """The command in this process: an interpreter for each line would take a minute."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *words: str) -> tuple[object, str, str]:
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(words)
        found = self._capfd.readouterr()
        return caught.value.code, found.out, found.err


def plain(text: str) -> str:
    """Leave out how long ago something was: the two clients ask one after the other."""
    return "\n".join(line.rstrip() for line in _AGO.sub("T", text).splitlines())


def words_of(line: str) -> list[str]:
    return re.findall(r"\{\{.*\}\}\S*|(?:\S*\{\{[^}]*\}\}\S*)+|\S+", line)


@pytest.mark.parametrize("line", SAME)
def test_both_clients_print_the_same(both: Engine, here: Kedge, line: str) -> None:
    words = words_of(line)
    theirs = both.docker(*words, check=False)
    code, out, _ = here(*words)
    while comparable(line, out) != comparable(line, theirs.stdout):
        # "Up 9 seconds" is shorter than "Up 10 seconds", and so are the columns: a difference
        # counts when nothing has changed between the lines before and after kedge's.
        again = both.docker(*words, check=False)
        if again.stdout == theirs.stdout:
            break
        theirs = again
        code, out, _ = here(*words)
    assert code == theirs.returncode, theirs.stderr
    assert comparable(line, out) == comparable(line, theirs.stdout)


def comparable(line: str, text: str) -> object:
    """Return what a client printed, without what may differ."""
    if "--format json" in line or ("inspect" in line and "-f" not in line):
        return parsed(text)
    if line.startswith("image"):
        # Docker's client shows the names of one image in any order.
        return sorted(plain(text).split("\n"))
    return plain(text)


def parsed(text: str) -> object:
    return [json.loads(plain(text))] if text.startswith("[") else [
        json.loads(plain(line)) for line in sorted(text.splitlines())
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "stop nope", "rm nope", "inspect nope", "logs nope", "exec nope true", "start nope",
        "port web 81", "cp nope:/x .", "cp web:/nope .", "cp web:/new/file /nope/x",
        "volume rm nope", "volume inspect nope", "network rm nope", "network inspect nope",
        "rmi nope", "history nope", "tag nope x", "ps -f x", "ps --nope", "run -m x busybox",
        "rename web", "network connect nope web", "network create app", "rename web job",
        "kill job", "pause job", "update -m 1x web", "ps --format {{.Nope",
        "run --rm busybox nope", "run --rm busybox /etc", "volume create a b",
        "save -o /nope/x busybox", "load -i /nope", "context use nope", "context rm default",
        "inspect --type x web", "rename a", "stpo",
    ],
)  # fmt: skip
def test_both_clients_end_with_the_same_code(both: Engine, here: Kedge, line: str) -> None:
    words = words_of(line)
    theirs = both.docker(*words, check=False)
    code, _, error = here(*words)
    assert code == theirs.returncode, (theirs.stderr, error)
    assert code != 0
    assert error.startswith("kedge: ")


@pytest.mark.parametrize("image", ["127.0.0.1:1/nope", "127.0.0.1:1/a/b:c", "busybox:nope"])
def test_both_clients_name_what_is_missing(both: Engine, here: Kedge, image: str) -> None:
    theirs = both.docker("run", "--rm", image, check=False)
    code, _, error = here("run", "--rm", image)
    assert code == theirs.returncode == 125
    assert error.splitlines()[0] == theirs.stderr.splitlines()[0]
    assert "Using default tag" not in error


def content_of(path: Path) -> str:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_text() if path.is_file() else ""


def tree(folder: Path) -> "dict[str, tuple[int, str]]":
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            str(path.readlink())
            if path.is_symlink()
            else path.read_text()
            if path.is_file()
            else "",
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize(
    ("source", "target"),
    [("/new", "."), ("/new", "made"), ("/new/.", "made"), ("/new/.", "."), ("/new/file", "."),
     ("/new/file", "named"), ("/new/link", "."), ("/new/file", "existing"), ("/new", "folder"),
     ("/new/", "folder/"), ("/new/file", "folder/"), ("/new/file", "absent/"), ("/new", "existing"),
     ("/new/.", "folder")],
)  # fmt: skip
@pytest.mark.parametrize("follow", [False, True])
def test_copies_out_look_the_same(
    both: Engine, here: Kedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str,
    target: str, *, follow: bool,
) -> None:  # fmt: skip
    results: list[tuple[bool, dict[str, tuple[int, str]]]] = []
    for client in ("docker", "kedge"):
        folder = tmp_path / client
        (folder / "folder").mkdir(parents=True)
        (folder / "existing").write_text("old")
        monkeypatch.chdir(folder)
        words = ["cp", *(["-L"] if follow else []), f"web:{source}", target]
        if client == "docker":
            code: object = both.docker(*words, check=False).returncode
        else:
            code = here(*words)[0]
        results.append((code == 0, tree(folder)))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("source", "target"),
    [("s", "/in"), ("s/.", "/in"), ("s", "/in/made"), ("s/.", "/in/made"), ("s/f", "/in"),
     ("s/f", "/in/g"), ("s/f", "/in/old"), ("s/l", "/in"), ("s", "/in/old"), ("s/f", "/in/absent/"),
     ("s/d/", "/in/x"), ("s/f", "/in/link"), ("s", "/in/link")],
)  # fmt: skip
def test_copies_in_look_the_same(
    both: Engine, here: Kedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str,
    target: str,
) -> None:  # fmt: skip
    (tmp_path / "s" / "d").mkdir(parents=True)
    (tmp_path / "s" / "f").write_text("f")
    (tmp_path / "s" / "l").symlink_to("f")
    (tmp_path / "s" / "d" / "g").write_text("g")
    monkeypatch.chdir(tmp_path)
    results: list[tuple[bool, list[tuple[str, int, str]]]] = []
    for client in ("docker", "kedge"):
        both.docker(
            "exec", "web", "sh", "-c",
            "rm -rf /in; mkdir -p /in/goal; echo old > /in/old; ln -s goal /in/link",
        )  # fmt: skip
        words = ["cp", source, f"web:{target}"]
        if client == "docker":
            code: object = both.docker(*words, check=False).returncode
        else:
            code = here(*words)[0]
        results.append((code == 0, inside(here)))
    assert results[0] == results[1]


def inside(here: Kedge) -> list[tuple[str, int, str]]:
    code, out, error = here("exec", "web", "sh", "-c", "cd /in && find . -exec ls -ld {} +")
    assert code == 0, error
    return [(line.split()[8], len(line.split()), line[:10]) for line in out.splitlines()]


def test_a_copied_archive_can_be_read(both: Engine, tmp_path: Path) -> None:
    target = tmp_path / "x.tar"
    both.kedge("export", "-o", str(target), "web")
    with tarfile.open(fileobj=BytesIO(target.read_bytes())) as archive:
        assert "new/file" in archive.getnames()


def test_a_context_of_one_client_is_one_of_the_other(
    both: Engine, here: Kedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = both.root / "docker"
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    assert here("context", "create", "ours", "--docker", f"host={both.host}")[0] == 0
    both.docker("context", "create", "theirs", "--docker", f"host={both.host},skip-tls-verify=true")
    export = tmp_path / "x"
    both.docker("context", "export", "theirs", str(export))
    assert here("context", "import", "again", str(export))[0] == 0
    listed = both.docker("context", "ls", "--format", "json").stdout
    assert listed == here("context", "ls", "--format", "json")[1]
    for name in ("ours", "theirs", "again"):
        assert both.docker("context", "inspect", name).stdout == here("context", "inspect", name)[1]
    assert "web" in both.docker("-c", "ours", "ps").stdout
    assert "web" in here("-c", "ours", "ps")[1]
    both.docker("context", "rm", "ours", "theirs", "again")
    assert here("context", "ls", "-q")[1] == "default\n"
