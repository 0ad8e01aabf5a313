"""A service's build as words of ``kedge build``."""

import pytest

from kedge.cli.build import COMMAND
from kedge.cli.flags import read_options
from kedge.compose.buildwords import build_words
from kedge.compose.images import build_step
from kedge.errdefs import NotSupportedError
from tests.unit.compose.states import application

_TEXT = """
services:
  s:
    platform: linux/amd64
    build:
      context: dir
      args: {A: 1, UNSET: }
      target: t
      tags: [x:1, y]
      labels: {l: v}
      cache_from: [c1]
      cache_to: ["type=local,dest=d"]
      no_cache: true
      pull: true
      no_cache_filter: [st]
      network: host
      extra_hosts: ["h=1.2.3.4", "v=::1"]
      shm_size: 1m
      ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}
      entitlements: [network.host]
      secrets: [a, {source: b, target: other}]
      ssh: [default, "k=/run/s"]
      additional_contexts: {base: "service:t", more: ./m, web: "https://h/x.git"}
      provenance: true
  t: {build: .}
secrets: {a: {file: ./a.txt}, b: {environment: B}}
"""


def test_every_attribute_is_a_flag() -> None:
    app = application(_TEXT)
    words = build_words(app, build_step(app, "s"), "/tmp/D")
    options = read_options(COMMAND.flags, words, interspersed=True)
    assert {name: options.texts(name) for name in (
        "tag", "build-arg", "label", "cache-from", "cache-to", "no-cache-filter", "add-host",
        "ulimit", "allow", "secret", "ssh", "build-context",
    )} == {
        "tag": ["app-s", "x:1", "y"],
        "build-arg": ["A=1"],
        "label": ["l=v", "com.docker.compose.project=app", "com.docker.compose.service=s"],
        "cache-from": ["c1"],
        "cache-to": ["type=local,dest=d"],
        "no-cache-filter": ["st"],
        "add-host": ["h:1.2.3.4", "v:::1"],
        "ulimit": ["nofile=1:2", "nproc=3"],
        "allow": ["network.host"],
        "secret": ["id=a,src=/p/a.txt", "id=other,env=B"],
        "ssh": ["default", "k=/run/s"],
        "build-context": ["base=docker-image://app-t", "more=/p/m", "web=https://h/x.git"],
    }  # fmt: skip
    assert {name: options.text(name) for name in (
        "target", "network", "shm-size", "platform", "file", "no-cache", "pull", "provenance",
    )} == {
        "target": "t", "network": "host", "shm-size": "1048576", "platform": "linux/amd64",
        "file": "/tmp/D", "no-cache": "true", "pull": "true", "provenance": "true",
    }  # fmt: skip
    assert options.words == ["/p/dir"]


def test_a_privileged_build_is_refused() -> None:
    app = application("services: {s: {build: {context: ., privileged: true}}}")
    with pytest.raises(NotSupportedError, match="privileged"):
        build_words(app, build_step(app, "s"), "")
