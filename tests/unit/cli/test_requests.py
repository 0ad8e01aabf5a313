"""What each verb asks of the engine, and what it makes of the answer."""

import io
import json
import sys
from pathlib import Path

import pytest

from kedge.lib.jsontypes import Json
from tests.unit.cli.fake_engine import Answer, FakeEngine, Run


@pytest.mark.parametrize(
    ("words", "key", "answer", "line", "out"),
    [
        ("volume create -d local -o type=tmpfs --label a=b v", "POST /volumes/create",
         {"Name": "v"}, "POST /volumes/create", "v\n"),
        ("volume rm -f v", "DELETE /volumes/v", None, "DELETE /volumes/v?force=1", "v\n"),
        ("volume rm -f gone", "DELETE /volumes/v", None, "DELETE /volumes/gone?force=1", "gone\n"),
        ("volume prune -f -a", "POST /volumes/prune",
         {"VolumesDeleted": ["v"], "SpaceReclaimed": 1500},
         'POST /volumes/prune?filters={"all": {"true": true}}',
         "Deleted Volumes:\nv\n\nTotal reclaimed space: 1.5kB\n"),
        ("container prune -f --filter until=1h", "POST /containers/prune",
         {"ContainersDeleted": ["c"], "SpaceReclaimed": 0},
         'POST /containers/prune?filters={"until": {"1h": true}}',
         "Deleted Containers:\nc\n\nTotal reclaimed space: 0B\n"),
        ("image prune -f", "POST /images/prune",
         {"ImagesDeleted": [{"Untagged": "a"}, {"Deleted": "b"}], "SpaceReclaimed": 0},
         'POST /images/prune?filters={"dangling": {"true": true}}',
         "Deleted Images:\nuntagged: a\ndeleted: b\n\nTotal reclaimed space: 0B\n"),
        ("network prune -f", "POST /networks/prune", {"NetworksDeleted": ["n"]},
         "POST /networks/prune", "Deleted Networks:\nn\n\n"),
        ("builder prune -af --keep-storage 1k", "POST /build/prune",
         {"CachesDeleted": None, "SpaceReclaimed": 0},
         "POST /build/prune?all=1&keep-storage=1024", "Total reclaimed space: 0B\n"),
        ("network rm n", "DELETE /networks/n", None, "DELETE /networks/n", "n\n"),
        ("network disconnect -f n c", "POST /networks/n/disconnect", {},
         "POST /networks/n/disconnect", ""),
        ("diff c", "GET /containers/c/changes",
         [{"Kind": 1, "Path": "/x"}, {"Kind": 2, "Path": "/y"}],
         "GET /containers/c/changes", "A /x\nD /y\n"),
        ("commit -a me -m why --change USER=x -p=false c app:1", "POST /commit", {"Id": "sha256:1"},
         ("POST /commit?container=c&repo=docker.io/library/app&tag=1&author=me&comment=why"
         "&changes=USER=x&pause=0"), "sha256:1\n"),
        ("search --limit 3 redis", "GET /images/search",
         [{"name": "redis", "description": "a\nb", "star_count": 3, "is_official": True}],
         "GET /images/search?term=redis&limit=3",
         "NAME      DESCRIPTION   STARS     OFFICIAL\nredis     a b           3         [OK]\n"),
        ("update --cpus 1.5 --restart on-failure:3 c", "POST /containers/c/update", {},
         "POST /containers/c/update", "c\n"),
        ("rmi --platform linux/arm64 i", "DELETE /images/i", [{"Untagged": "i"}],
         'DELETE /images/i?platforms={"os":"linux","architecture":"arm64"}', "Untagged: i\n"),
    ],
)  # fmt: skip
def test_verbs_ask_and_tell(
    fake: FakeEngine, kedge: Run, words: str, key: str, answer: Json, line: str, out: str
) -> None:
    fake.say(key, answer)
    assert kedge(*words.split()) == (0, out, "")
    assert fake.lines == [line]


def test_bodies_of_requests(fake: FakeEngine, kedge: Run) -> None:
    for key in ("volumes/create", "networks/create", "networks/n/connect", "containers/c/update"):
        fake.say(f"POST /{key}", {})
    kedge("volume", "create", "-o", "type=tmpfs", "--label", "a=b", "v")
    kedge(
        *[
            "network",
            "create",
            "--subnet",
            "10.9.0.0/24",
            "--gateway",
            "10.9.0.1",
            "--ip-range",
            "10.9.0.128/25",
        ],
        *["--aux-address", "r=10.9.0.9", "--internal", "--ipv6=false", "n"],
    )
    kedge("network", "connect", "--alias", "a", "--ip", "10.9.0.5", "--gw-priority", "-1", "n", "c")
    kedge("update", "-m", "64m", "--restart", "always", "c")
    volume, network, endpoint, update = (asked.document for asked in fake.asked)
    assert volume == {
        "Name": "v", "Driver": "local", "DriverOpts": {"type": "tmpfs"}, "Labels": {"a": "b"},
    }  # fmt: skip
    assert isinstance(network, dict)
    assert network["EnableIPv6"] is False
    assert "EnableIPv4" not in network
    assert network["Internal"] is True
    assert network["IPAM"] == {
        "Driver": "default",
        "Options": {},
        "Config": [
            {
                "Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1", "IPRange": "10.9.0.128/25",
                "AuxiliaryAddresses": {"r": "10.9.0.9"},
            }
        ],
    }  # fmt: skip
    assert endpoint == {
        "Container": "c",
        "EndpointConfig": {
            "IPAMConfig": {"IPv4Address": "10.9.0.5"}, "Aliases": ["a"], "GwPriority": -1,
        },
    }  # fmt: skip
    assert update == {
        "Memory": 64 << 20, "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("network create --gateway 10.0.0.1 n", "must have a corresponding subnet"),
        ("network create --subnet 10.0.0.0/24 --gateway 10.1.0.1 n",
         "no matching subnet for gateway 10.1.0.1"),
        ("network create --subnet 10.0.0.0/8 --subnet 10.1.0.0/16 n", "multiple overlapping"),
        ("network create --subnet x n", "invalid CIDR address: x"),
        ("update c", "you must provide one or more flags"),
        ("cp a b", "must specify at least one container source"),
        ("cp a:/b c:/d", "copying between containers is not supported"),
        ("commit c name@sha256:" + "0" * 64, "refusing to create a tag with a digest reference"),
        ("save -o /nope/x i", 'invalid output path: directory "/nope" does not exist'),
        ("load -i /nope/x", "/nope/x: no such file or directory"),
        ("save --platform / i", 'invalid component of platform "/"'),
        ("system prune --volumes --filter until=1h", 'the "until" filter is not supported'),
        ("events --format {{.x", "unclosed action"),
        ("pull -a x:1", "tag can't be used with --all-tags/-a"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_asked(
    fake: FakeEngine, kedge: Run, words: str, error: str
) -> None:
    code, out, err = kedge(*words.split())
    assert code != 0
    assert out == ""
    assert error in err
    assert fake.lines == []


def test_nothing_is_removed_without_a_yes(
    fake: FakeEngine, kedge: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in ("", "n\n", "no\n", "\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        code, out, _ = kedge("system", "prune", "-a")
        assert code == 0
        assert "  - all stopped containers\n" in out
        assert "Are you sure you want to continue? [y/N] " in out
    assert fake.lines == []
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    fake.say("POST /containers/prune", {"ContainersDeleted": [], "SpaceReclaimed": 7})
    assert kedge("container", "prune")[1].endswith("[y/N] Total reclaimed space: 7B\n")


def test_events_are_lines(fake: FakeEngine, kedge: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    event: Json = {
        "Type": "container", "Action": "die", "timeNano": 1_700_000_000_000_000_001,
        "Actor": {"ID": "abc", "Attributes": {"name": "web", "exitCode": "3"}},
    }  # fmt: skip
    monkeypatch.setenv("TZ", "UTC")
    line = json.dumps(event).encode() + b"\n"
    fake.answer("GET /events", Answer(raw=line + line))
    shown = "2023-11-14T22:13:20.000000001Z container die abc (exitCode=3, name=web)\n"
    assert kedge("events", "--since", "5", "-f", "type=container")[1] == shown * 2
    assert fake.lines == ['GET /events?since=5&filters={"type": {"container": true}}']
    assert kedge("events", "--format", "{{.Actor.Attributes.name}}")[1] == "web\nweb\n"
    assert json.loads(kedge("events", "--format", "json")[1].splitlines()[0]) == event


def test_archives_go_to_files_whole_or_not_at_all(
    fake: FakeEngine, kedge: Run, tmp_path: Path
) -> None:
    fake.answer("GET /images/get", Answer(raw=b"tar" * 1000))
    target = tmp_path / "i.tar"
    assert kedge("save", "-o", str(target), "a", "b:1") == (0, "", "")
    assert target.read_bytes() == b"tar" * 1000
    assert fake.lines == ["GET /images/get?names=a&names=b:1"]
    fake.say("GET /containers/c/export", {"message": "No such container: c"}, status=404)
    assert kedge("export", "-o", str(tmp_path / "c.tar"), "c")[0] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i.tar"]


def test_load_and_import_send_the_file(fake: FakeEngine, kedge: Run, tmp_path: Path) -> None:
    source = tmp_path / "x.tar"
    source.write_bytes(b"x" * 300_000)
    fake.answer("POST /images/load", Answer(raw=b'{"stream":"Loaded image: a:1\\n"}\n'))
    assert kedge("load", "-i", str(source))[1] == "Loaded image: a:1\n"
    fake.answer("POST /images/create", Answer(raw=b'{"status":"sha256:1"}\n'))
    assert kedge("import", "-c", "CMD x", str(source), "a:2")[1] == "sha256:1\n"
    assert fake.lines == [
        "POST /images/load?quiet=1",
        "POST /images/create?fromSrc=-&repo=docker.io/library/a&tag=2&changes=CMD x",
    ]
    assert [asked.body for asked in fake.asked] == [source.read_bytes()] * 2


def test_system_df_in_detail(fake: FakeEngine, kedge: Run) -> None:
    usage: Json = {
        "LayersSize": 10,
        "Images": [{"Id": "sha256:" + "a" * 64, "RepoTags": ["x:1"], "Size": 10, "SharedSize": 4,
                    "Containers": 1, "Created": 0}],
        "Containers": [],
        "Volumes": [{"Name": "v", "Driver": "local", "UsageData": {"RefCount": 2, "Size": 2000}}],
        "BuildCache": [],
    }  # fmt: skip
    fake.say("GET /system/df", usage)
    out = kedge("system", "df", "-v")[1]
    assert "UNIQUE SIZE" in out
    assert "v             2         2kB\n" in out
    found = json.loads(kedge("system", "df", "-v", "--format", "json")[1])
    assert found["Images"][0]["UniqueSize"] == "6B"
    assert found["Volumes"][0]["Links"] == "2"


def test_names_complete(fake: FakeEngine, kedge: Run) -> None:
    fake.say("GET /volumes", {"Volumes": [{"Name": "v"}]})
    fake.say("GET /networks", [{"Name": "bridge"}])
    assert kedge("__complete", "volume")[1] == "v\n"
    assert kedge("__complete", "network")[1] == "bridge\n"
    assert kedge("__complete", "context")[1] == "default\n"


def test_gpus_and_device_limits_reach_the_engine(fake: FakeEngine, kedge: Run) -> None:
    fake.say("POST /containers/create", {"Id": "1"}, status=201)
    kedge("create", "--gpus", 'device=0,"capabilities=utility"', "--device-read-bps",
          "/dev/sda:1mb", "--blkio-weight-device", "/dev/sda:500", "i")  # fmt: skip
    document = fake.asked[0].document
    assert isinstance(document, dict)
    host = document["HostConfig"]
    assert isinstance(host, dict)
    assert host["DeviceRequests"] == [
        {"Options": {}, "Capabilities": [["utility", "gpu"]], "DeviceIDs": ["0"]}
    ]
    assert host["BlkioDeviceReadBps"] == [{"Path": "/dev/sda", "Rate": 1 << 20}]
    assert host["BlkioWeightDevice"] == [{"Path": "/dev/sda", "Weight": 500}]
