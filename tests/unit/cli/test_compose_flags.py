"""Every verb of ``kedge compose`` takes every flag that Docker Compose 5.6 has for it."""

import importlib
import json
from pathlib import Path

import pytest

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.table import find_in_group, group_entries
from tests.unit.cli.fake_engine import Answer, FakeEngine, Run

# From `docker compose VERB --help`; a short name stands before a slash.
FLAGS = {
    "attach": "detach-keys index no-stdin sig-proxy",
    "build": "build-arg builder check m/memory no-cache print provenance pull push q/quiet sbom "
             "ssh with-dependencies",
    "commit": "a/author c/change index m/message p/pause",
    "config": "environment format hash images lock-image-digests models networks no-consistency "
              "no-env-resolution no-interpolate no-normalize no-path-resolution o/output profiles "
              "q/quiet resolve-image-digests services variables volumes",
    "cp": "a/archive L/follow-link all index",
    "create": "build force-recreate no-build no-recreate pull quiet-pull remove-orphans scale "
              "y/yes",
    "down": "remove-orphans rmi t/timeout v/volumes",
    "events": "json since until",
    "exec": "d/detach e/env index T/no-tty privileged u/user w/workdir i/interactive t/tty",
    "export": "index o/output",
    "images": "format q/quiet",
    "kill": "remove-orphans s/signal",
    "logs": "f/follow index no-color no-log-prefix since n/tail t/timestamps until",
    "ls": "a/all filter format q/quiet",
    "pause": "",
    "port": "index protocol",
    "ps": "a/all filter format no-trunc orphans q/quiet services status",
    "pull": "ignore-buildable ignore-pull-failures include-deps policy q/quiet",
    "push": "ignore-push-failures include-deps q/quiet",
    "restart": "no-deps t/timeout",
    "rm": "f/force s/stop v/volumes",
    "run": "build cap-add cap-drop d/detach entrypoint e/env env-from-file i/interactive l/label "
           "name T/no-tty no-deps p/publish pull q/quiet quiet-build quiet-pull remove-orphans rm "
           "P/service-ports use-aliases u/user v/volume w/workdir",
    "scale": "no-deps",
    "start": "wait wait-timeout",
    "stats": "a/all format no-stream no-trunc",
    "stop": "t/timeout",
    "top": "",
    "unpause": "",
    "up": "abort-on-container-exit abort-on-container-failure always-recreate-deps attach "
          "attach-dependencies build d/detach exit-code-from force-recreate menu no-attach "
          "no-build no-color no-deps no-log-prefix no-recreate no-start pull quiet-build "
          "quiet-pull remove-orphans V/renew-anon-volumes scale t/timeout timestamps wait "
          "wait-timeout w/watch y/yes",
    "version": "f/format short",
    "volumes": "format q/quiet",
    "wait": "down-project",
    "watch": "no-up prune quiet",
}  # fmt: skip
EVERYWHERE = (
    "file project-name env-file profile project-directory progress ansi parallel dry-run "
    "compatibility all-resources"
)


def command(verb: str) -> Command:
    entry = find_in_group("compose", verb)
    assert entry is not None
    found: Command = importlib.import_module(f"kedge.cli.{entry.module}").COMMAND
    return found


def test_every_verb_is_here() -> None:
    assert set(FLAGS) <= {name for name, _ in group_entries("compose")}


@pytest.mark.parametrize("verb", FLAGS)
def test_every_flag_of_docker_compose_is_known(verb: str) -> None:
    known = {(f.short, f.name) for f in command(verb).flags}
    names = {name for _, name in known}
    for word in FLAGS[verb].split():
        short, _, name = word.rpartition("/")
        assert name in names, f"{verb} --{name}"
        assert not short or (short, name) in known, f"{verb} -{short}"
    if verb != "version":
        assert {flag.name for flag in PROJECT_FLAGS} == set(EVERYWHERE.split())
        assert set(EVERYWHERE.split()) <= names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "compose.yaml").write_text(
        "name: v\n"
        "services:\n"
        '  a: {image: "shop:${TAG:-7}", environment: {A: "${REQ:?need}", C: "${C:+alt}"},\n'
        "      models: [m]}\n"
        "  b: {image: other, build: .}\n"
        "models: {m: {model: ai/x}}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_variables_are_listed_without_values(folder: Path, kedge: Run) -> None:
    code, out, _ = kedge("compose", "config", "--variables")
    assert (code, [line.split() for line in out.splitlines()]) == (
        0,
        [
            ["NAME", "REQUIRED", "DEFAULT", "VALUE", "ALTERNATE", "VALUE"],
            ["C", "false", "alt"],
            ["REQ", "true"],
            ["TAG", "false", "7"],
        ],
    )
    document = json.loads(kedge("compose", "config", "--variables", "--format", "json")[1])
    assert document["C"] == {
        "Name": "C", "DefaultValue": "", "PresenceValue": "alt", "Required": False
    }  # fmt: skip
    assert folder.exists()


def test_images_are_pinned_as_the_registry_has_them(
    folder: Path, fake: FakeEngine, kedge: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQ", "1")
    digest = "sha256:" + "0" * 64
    path = ""
    for name in ("shop:7", "other:latest"):
        path = f"GET /distribution/docker.io/library/{name}/json"
        fake.say(path, {"Descriptor": {"digest": digest}})
    _, out, _ = kedge("compose", "config", "--lock-image-digests")
    assert out == (
        "services:\n"
        f"  a:\n    image: docker.io/library/shop:7@{digest}\n"
        f"  b:\n    image: docker.io/library/other:latest@{digest}\n"
    )
    _, out, _ = kedge("compose", "config", "--resolve-image-digests", "--images")
    assert out.split() == [
        f"docker.io/library/{name}@{digest}" for name in ("shop:7", "other:latest")
    ]
    assert kedge("compose", "config", "--models")[1] == "ai/x\n"
    fake.answer(path.replace("other:latest", "shop:7"), Answer({"message": "no"}, status=500))
    code, _, err = kedge("compose", "config", "--resolve-image-digests")
    assert code == 1
    assert err.startswith("kedge: cannot resolve the digest of shop:7: ")
    assert folder.exists()
