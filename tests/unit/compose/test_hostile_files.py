"""Whatever a Compose file says, the loader ends in a model or in one line, never in a traceback.

What it makes of a file has to go on from there: printed, hashed, planned, made into requests.
"""

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kedge.compose import listing, presentation, printing
from kedge.compose.application import Application
from kedge.compose.attributes import ALIASES, SHAPES
from kedge.compose.facts import Facts
from kedge.compose.plan import Wishes, plan_up
from kedge.compose.project import Wanted, load_project
from kedge.errdefs import KedgeError
from kedge.lib.jsontypes import Json, JsonObject

_QUIET = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_LEAVES = (
    *(
        "",
        "a",
        "b",
        "1",
        "0",
        "-1",
        "80",
        "8080:80",
        "80-90:80-90/udp",
        "127.0.0.1::1",
        "[::1]:1:1",
    ),
    *("a:b", "./a:/b:ro", "/a", "~", "a=b", "=", ":", "service:a", "container:x", "10s", "1h1x"),
    *("10m", "1e400", "nan", "${A", "$A", "$${A}", "${A:?no}", "${A:-${B}}", "always", "no"),
    *("on-failure:3", "on-failure:x", "default", "host", "true", "busybox:latest", "UPPER/x@y"),
    *("10.0.0.0/8", "999.1.1.1", "é\u2028", "\x7f", "'", '"', "a b 'c", "99999999999999999999"),
)
_OTHERS: tuple[Json, ...] = (
    None, 0, -1, 1.5, True, "", "x", [], {}, [None], {"x": None}, 2**70
)  # fmt: skip
_NAMES = ("a", "b", "default", "web", "x-y", "A", "1", "")


def leaf(kind: str) -> st.SearchStrategy[Json]:
    match kind:
        case "s":
            return st.sampled_from(_LEAVES)
        case "n":
            return st.one_of(st.integers(-5, 70000), st.floats())
        case "i":
            return st.integers(-(2**70), 2**70)
        case "b":
            return st.booleans()
        case _:
            return st.none()


def split(shape: str) -> list[str]:
    """The alternatives of a shape of `kedge.compose.attributes`."""
    found, depth = [""], 0
    for letter in shape:
        depth += (letter in "[<") - (letter in "]>")
        if letter == "|" and not depth:
            found.append("")
        else:
            found[-1] += letter
    return found


@st.composite
def of_shape(draw: st.DrawFn, shape: str) -> Json:
    """Draw a value that a shape allows, or, rarely, any other."""
    if draw(st.integers(0, 40)) == 0:
        return draw(st.sampled_from(_OTHERS))
    one = draw(st.sampled_from(split(shape)))
    match one[0]:
        case "@" if one[1:] in ALIASES:
            return draw(of_shape(ALIASES[one[1:]]))
        case "@":
            return draw(of_fields(one[1:]))
        case "=":
            return draw(st.sampled_from(one[1:].split("/")))
        case "[":
            return draw(st.lists(of_shape(one[1:-1]), max_size=2))
        case "<":
            return draw(st.dictionaries(st.sampled_from(_NAMES), of_shape(one[1:-1]), max_size=2))
        case kind:
            return draw(leaf(kind))


@st.composite
def of_fields(draw: st.DrawFn, name: str) -> JsonObject:
    """Draw a mapping with some of a shape's fields, and all it requires."""
    fields = dict(word.split(":", 1) for word in SHAPES[name].split())
    required = [key for key in fields if key.endswith("!")]
    chosen = draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True))
    made: JsonObject = {
        key.removesuffix("!"): draw(of_shape(fields[key])) for key in {*required, *chosen}
    }
    return made


@st.composite
def projects(draw: st.DrawFn) -> JsonObject:
    """Draw a whole file; its services can often be made."""
    made = draw(of_fields("project"))
    names = draw(st.lists(st.sampled_from(("a", "b", "web")), max_size=2, unique=True))
    image: JsonObject = {"image": "busybox"}
    services: JsonObject = {name: image | draw(of_fields("service")) for name in names}
    made.pop("include", None)
    made["services"] = services
    return made


def use(folder: Path, *texts: str) -> None:
    """Load files and go on with what they make; refuse anything but a failure of one line."""
    files: list[str] = []
    for at, text in enumerate(texts):
        path = folder / f"{at}.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        files.append(str(path))
    try:
        project = load_project(
            Wanted(files=tuple(files), name="app", profiles=("*",)), {"B": "b"}, lambda _text: None
        )
        model = presentation.presented(project.model)
        printing.to_yaml(listing.escaped(model))
        json.loads(printing.to_json(model))
        listing.hashes(model, "*")
        app = Application("app", model, project.env, str(folder), tuple(files))
        plan_up(app, Facts(), Wishes(services=tuple(app.services)))
    except KedgeError as error:
        said = str(error)
    else:
        said = "it is a project"
    assert said
    assert "\n" not in said


@_QUIET
@given(projects())
def test_files_of_the_right_shape(tmp_path: Path, project: JsonObject) -> None:
    use(tmp_path, json.dumps(project))


@_QUIET
@given(projects(), projects())
def test_two_files_over_one_another(tmp_path: Path, one: JsonObject, other: JsonObject) -> None:
    use(tmp_path, json.dumps(one), json.dumps(other))


_ORDINARY = """\
name: app
x-base: &base
  image: busybox:${TAG:-1}
  environment: {A: "1", B: }
services:
  web:
    <<: *base
    ports: ["8080:80", {target: 81, published: "90-92"}]
    depends_on: {db: {condition: service_healthy}}
    healthcheck: {test: [CMD, "true"], interval: 1m30s}
  db:
    extends: {service: web}
    ports: !reset []
    depends_on: !override {}
    volumes: ["data:/d", ./x:/y]
    deploy: {replicas: 2, resources: {limits: {memory: 50m}}}
networks: {default: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}
volumes: {data: }
--- # more
services: {web: {labels: [a=b]}}
"""
_BITS = (
    *("\n", " ", "  ", "\t", ":", ": ", "- ", "{", "}", "[", "]", ",", "&a ", "*a", "<<: ", "!x "),
    *("!reset", "|", ">-", "'", '"', "#", "?", "---\n", "...\n", "%YAML 9\n", "\ufeff", "\x00"),
    *("${", "$$", "null", "~", "é", "\ud800", "*base", "&base", "\\", "@", "`"),
)


@_QUIET
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(_ORDINARY)), st.integers(0, 12), st.sampled_from(("", *_BITS))
        ),
        min_size=1,
        max_size=4,
    )
)
@example([(0, 9999, "")])
@example([(0, 9999, "a: &a [*a]")])
@example([(0, 9999, "[" * 3000)])
@example([(0, 9999, "{a: " * 3000)])
def test_an_ordinary_file_with_mistakes(
    tmp_path: Path, mistakes: list[tuple[int, int, str]]
) -> None:
    text = _ORDINARY
    for at, length, instead in mistakes:
        text = text[:at] + instead + text[at + length :]
    use(tmp_path, text)


@_QUIET
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text(tmp_path: Path, text: str, value: str) -> None:
    use(tmp_path, text)
    use(tmp_path, f"services:\n  a: {{image: {json.dumps(value)}}}\n")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_bytes(b"services: \xff\xfe")
    with pytest.raises(KedgeError, match=re.escape(f"{path}:1:1: not a UTF-8 text")):
        load_project(Wanted(files=(str(path),)), {}, lambda _text: None)


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ('blkio_config: {weight: "\'"}', "want a whole number"),
        ("scale: 99999999999999999999", "too large"),
        ("scale: 20000", "20000 containers are too many"),
        ("expose: [0-99999999999]", "invalid port"),
        ("restart: on-failure:x", "want a whole number"),
    ],
)
def test_numbers_that_are_none_are_named(tmp_path: Path, attribute: str, said: str) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(f"services: {{a: {{image: busybox, {attribute}}}}}\n")
    project = load_project(Wanted(files=(str(path),), name="app"), {}, lambda _text: None)
    app = Application("app", presentation.presented(project.model), {}, str(tmp_path))
    with pytest.raises(KedgeError, match=said):
        plan_up(app, Facts(), Wishes(services=("a",)))


def test_an_alias_bomb_ends_in_a_line(tmp_path: Path) -> None:
    lines = ["x0: &x0 [a,a,a,a,a,a,a,a,a,a]"]
    lines += [f"x{n}: &x{n} [{','.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10)]
    (tmp_path / "compose.yaml").write_text("\n".join(lines).replace("x", "x-"))
    with pytest.raises(KedgeError):
        load_project(Wanted(files=(str(tmp_path / "compose.yaml"),)), {}, lambda _text: None)
