"""``docker build`` with buildx installed: contexts, cache, options, failures."""

import base64
import json
import re
import signal
import time

import msgspec
import pytest

from tests.interop.buildx.client import Buildx
from tests.processes import is_running

pytestmark = pytest.mark.interop


def vertexes(log: str) -> dict[str, str]:
    """Return the steps of plain progress by name, with how each ended."""
    names = dict(re.findall(r"^#(\d+) (\[.+|exporting.+)$", log, re.MULTILINE))
    ends = dict(re.findall(r"^#(\d+) (CACHED|DONE|ERROR|CANCELED)\b", log, re.MULTILINE))
    return {name: ends.get(number, "") for number, name in names.items()}


def ended(log: str, text: str) -> str:
    """Return how the step whose name holds ``text`` ended."""
    found = [end for name, end in vertexes(log).items() if text in name]
    assert len(found) == 1, (text, log)
    return found[0]


def test_an_image_is_built_and_runs(buildx: Buildx) -> None:
    buildx.write(
        {
            "Dockerfile": "FROM busybox\nARG WHO=nobody\nLABEL a=b\nCOPY greeting /\n"
            'RUN echo "for $WHO" >> /greeting\nCMD ["cat", "/greeting"]\n',
            "greeting": "hello\n",
        }
    )
    log = buildx.build("-t", "bx-first", "--build-arg", "WHO=you", "--label", "c=d")
    assert buildx.output_of("bx-first") == "hello\nfor you\n"
    assert ended(log, "COPY greeting /") == "DONE"
    config = buildx.inspect("bx-first")["Config"]
    assert isinstance(config, dict)
    assert config["Labels"] == {"a": "b", "c": "d"}


def test_a_second_build_is_cached_and_a_change_is_explained(buildx: Buildx) -> None:
    buildx.write(
        {
            "Dockerfile": "FROM busybox\nCOPY a /a\nRUN cat /a\nCOPY b /b\nRUN cat /b\n",
            "a": "first", "b": "second", "more/c": "third",
        }
    )  # fmt: skip
    buildx.build("-t", "bx-cache", "--iidfile", "one")
    again = buildx.build("-t", "bx-cache", "--iidfile", "two")
    steps = [end for name, end in vertexes(again).items() if "COPY" in name or "RUN" in name]
    assert steps == ["CACHED"] * 4
    assert (buildx.folder / "one").read_text() == (buildx.folder / "two").read_text()

    buildx.write({"b": "other"})
    changed = buildx.build("-t", "bx-cache")
    assert ended(changed, "RUN cat /a") == "CACHED"
    assert ended(changed, "RUN cat /b") == "DONE"
    assert re.search(r"^#\d+ .*\bb: changed\b", changed, re.MULTILINE), changed
    assert buildx.output_of("bx-cache", "cat", "/b") == "other"

    (buildx.folder / "a").unlink()
    assert buildx.run("build", "-q", ".", check=False).returncode == 1


def test_what_is_ignored_is_not_sent(buildx: Buildx) -> None:
    buildx.write(
        {
            "sub/Dockerfile": "FROM busybox\nCOPY . /all\n",
            "sub/Dockerfile.dockerignore": "# of this file only\nsecret*\n**/*.log\n!keep.log\n",
            ".dockerignore": "kept\n",
            "secret.txt": "no", "x/y.log": "no", "keep.log": "yes", "kept": "yes",
        }
    )  # fmt: skip
    buildx.build("-f", "sub/Dockerfile", "-t", "bx-ignored")
    found = buildx.output_of("bx-ignored", "find", "/all", "-type", "f").split()
    names = {each.removeprefix("/all/") for each in found}
    assert {"keep.log", "kept"} <= names
    assert not {"secret.txt", "x/y.log"} & names


def test_modes_links_and_odd_names_arrive(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nCOPY d /d\n", "d/run.sh": "x", "d/sp äce": "y"})
    (buildx.folder / "d/run.sh").chmod(0o4711)
    (buildx.folder / "d/link").symlink_to("../run.sh")
    (buildx.folder / "d/hard").hardlink_to(buildx.folder / "d/run.sh")
    (buildx.folder / "d/empty").mkdir(mode=0o750)
    buildx.build("-t", "bx-modes")
    listing = buildx.output_of("bx-modes", "stat", "-c", "%n %a %u", "/d/run.sh", "/d/empty")
    assert listing == "/d/run.sh 4711 0\n/d/empty 750 0\n"
    assert buildx.output_of("bx-modes", "readlink", "/d/link") == "../run.sh\n"
    assert buildx.output_of("bx-modes", "cat", "/d/hard", "/d/sp äce") == "xy"


def test_the_options_of_a_build(buildx: Buildx) -> None:
    buildx.write(
        {
            "Dockerfile": "FROM busybox AS base\nRUN echo base > /which\n"
            "FROM base AS other\nRUN echo other > /which; grep special /etc/hosts >> /which\n"
            "FROM base\nRUN false\n",
        }
    )
    target = ("--target", "other", "--add-host", "special=10.9.8.7")
    buildx.build("-t", "bx-target", *target)
    printed = buildx.output_of("bx-target", "cat", "/which")
    assert printed.split() == ["other", "10.9.8.7", "special"]
    assert ended(buildx.build(*target), "echo base") == "CACHED"
    assert ended(buildx.build("--no-cache", *target), "echo base") == "DONE"
    filtered = buildx.build("--no-cache-filter", "other", *target)
    assert ended(filtered, "echo base") == "CACHED"
    assert ended(filtered, "echo other") == "DONE"


def test_files_about_the_result(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nRUN true\n"})
    buildx.build("-t", "bx-meta:1", "-t", "bx-meta:2", "--iidfile", "id", "--metadata-file", "m")
    identity = buildx.inspect("bx-meta:1")["Id"]
    assert buildx.inspect("bx-meta:2")["Id"] == identity
    assert (buildx.folder / "id").read_text() == identity
    metadata = json.loads((buildx.folder / "m").read_text())
    assert metadata["containerimage.digest"] == identity
    assert metadata["image.name"] == "docker.io/library/bx-meta:1,docker.io/library/bx-meta:2"
    quiet = buildx.run("build", "-q", ".")
    assert quiet.stdout.strip() == identity


def test_secrets_reach_the_step_and_nothing_else(buildx: Buildx) -> None:
    buildx.write(
        {
            "Dockerfile": "FROM busybox\n"
            "RUN --mount=type=secret,id=key wc -c < /run/secrets/key > /size\n"
            'RUN --mount=type=secret,id=word,env=WORD test "$WORD" = from-env\n'
            "RUN --mount=type=secret,id=none test ! -e /run/secrets/none\n",
            "key.txt": "very-secret-text",
        }
    )
    words = ("--secret", "id=key,src=key.txt", "--secret", "id=word,env=BX_WORD", "-t", "bx-secret")
    done = buildx.run("build", *words, ".", environment={"BX_WORD": "from-env"})
    assert "very-secret" not in done.stderr
    assert buildx.output_of("bx-secret", "cat", "/size") == "16\n"
    assert "very-secret" not in buildx.run("history", "--no-trunc", "bx-secret").stdout
    everything = buildx.output_of("bx-secret", "find", "/", "-xdev", "-name", "key*")
    assert everything == ""

    missing = "FROM busybox\nRUN --mount=type=secret,id=gone,required cat /run/secrets/gone\n"
    buildx.write({"Dockerfile": missing})
    log = buildx.build(check=False)
    assert "secret gone: not found" in log


def test_contexts_on_standard_input(buildx: Buildx) -> None:
    dockerfile = b"FROM busybox\nRUN echo piped > /piped\n"
    buildx.run("build", "-t", "bx-stdin", "-", data=dockerfile)
    assert buildx.output_of("bx-stdin", "cat", "/piped") == "piped\n"

    buildx.write({"given": "from the folder\n"})
    buildx.run("build", "-t", "bx-stdin", "-f", "-", ".", data=b"FROM busybox\nCOPY given /\n")
    assert buildx.output_of("bx-stdin", "cat", "/given") == "from the folder\n"


def test_named_contexts(buildx: Buildx) -> None:
    buildx.write(
        {
            "Dockerfile": "FROM base AS start\nCOPY --from=lib /lib.txt /\nCOPY own /\n",
            "own": "own\n", "elsewhere/lib.txt": "lib\n", "elsewhere/big": "z" * 1000,
        }
    )  # fmt: skip
    buildx.build(
        "-t", "bx-named",
        "--build-context", "lib=elsewhere", "--build-context", "base=docker-image://busybox",
    )  # fmt: skip
    assert buildx.output_of("bx-named", "cat", "/lib.txt", "/own") == "lib\nown\n"


def test_a_failing_step_shows_its_line(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nRUN true\nRUN echo words && exit 7\nRUN true\n"})
    done = buildx.run("build", "--progress=plain", ".", check=False)
    assert done.returncode == 1
    assert "words" in done.stderr
    assert "exit code: 7" in done.stderr
    assert "Dockerfile:3" in done.stderr
    assert re.search(r"3 \| >>> RUN echo words && exit 7", done.stderr), done.stderr


class Log(msgspec.Struct):
    """Output of a step in ``--progress=rawjson``."""

    data: str


class Told(msgspec.Struct):
    """A line of ``--progress=rawjson``."""

    logs: list[Log] | None = None


def meeting(own: str, other: str) -> str:
    """Return a stage that says that it begins, meets another one several times, and says so."""
    meet = (
        f"echo {own}-$((6*7)); for i in 1 2 3 4 5; do touch /m/{own}$i; n=0; "
        f"until [ -e /m/{other}$i ] || [ $n = 300 ]; do sleep 0.1; n=$((n+1)); done; done; "
        f"echo {own}-$((7*7))"
    )
    return f"FROM busybox AS {own}\nRUN --mount=type=cache,id=bx-meeting,target=/m {meet}\n"


def test_stages_are_shown_side_by_side(buildx: Buildx) -> None:
    buildx.write(
        {
            "Dockerfile": f"{meeting('first', 'second')}{meeting('second', 'first')}"
            "FROM busybox AS bad\nRUN exit 3\n"
            "FROM busybox AS both\nCOPY --from=first /etc/passwd /a\n"
            "COPY --from=second /etc/passwd /b\n"
            "FROM both\nCOPY --from=bad /etc/passwd /c\n",
        }
    )  # fmt: skip
    told = buildx.run("build", "--no-cache", "--progress=rawjson", "--target", "both", ".").stderr
    records = [
        msgspec.json.decode(line, type=Told) for line in told.splitlines() if line.startswith("{")
    ]
    logs = [log.data for record in records for log in record.logs or ()]
    said = b"".join(base64.b64decode(data) for data in logs)
    assert said.index(b"second-42") < said.index(b"first-49")
    assert said.index(b"first-42") < said.index(b"second-49")
    log = buildx.build("--target", "both")
    assert ended(log, "first-$((6*7))") == ended(log, "second-$((6*7))") == "CACHED"
    failed = buildx.build(check=False)
    assert "Dockerfile:6" in failed
    assert ended(failed, "RUN exit 3") == "ERROR"


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ("FROM busybox\nRUNN true\n", "unknown instruction: RUNN (did you mean RUN?)"),
        ("FROM busybox\nCOPY nothere /\n", "nothere"),
        ("FROM busybox\nEXPOSE ${\n", "2 | >>> EXPOSE ${"),
    ],
)
def test_bad_input_is_told_with_its_line(buildx: Buildx, dockerfile: str, expected: str) -> None:
    buildx.write({"Dockerfile": dockerfile})
    done = buildx.run("build", ".", check=False)
    assert done.returncode == 1
    assert expected in done.stderr


def test_a_missing_dockerfile_is_told(buildx: Buildx) -> None:
    buildx.write({"other": "x"})
    done = buildx.run("buildx", "build", "-f", "gone/Dockerfile", ".", check=False)
    assert done.returncode != 0
    assert "gone" in done.stderr


def test_checks_outline_and_targets(buildx: Buildx) -> None:
    buildx.write(
        {
            "Dockerfile": "FROM busybox AS Mixed\n# NAME is who is greeted\nARG NAME=x\n"
            "RUN echo $NAME\n"
        }
    )
    checked = buildx.run("build", "--check", ".", check=False)
    assert "StageNameCasing" in checked.stdout
    assert checked.returncode == 1
    outline = buildx.run("build", "--call=outline", ".").stdout
    assert "NAME" in outline
    targets = buildx.run("build", "--call=targets,format=json", ".").stdout
    assert "ixed" in targets


def test_warnings_are_shown_after_a_build(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nMAINTAINER me\nRUN true\n"})
    log = buildx.run("build", ".").stderr
    assert "1 warning found" in log
    assert "MaintainerDeprecated" in log


def test_control_c_ends_the_step_at_once(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 98765\n"})
    with buildx.start("build", "--progress=plain", "--no-cache", ".") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if re.search(r"\d begun$", line.rstrip()):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode != 0
    assert "cancel" in rest.lower()
    # The engine has ended the command too: nothing of the build runs, and a next one is not held.
    deadline = time.monotonic() + 60
    while is_running("sleep", "98765"):
        assert time.monotonic() < deadline, "the step of a cancelled build runs on"
        time.sleep(0.01)
