"""The grouped verbs of the official docker CLI with their flags, in one story for each group."""

import re
import shlex

import pytest

from tests.engine import Engine, shared_engine

__all__ = ["shared_engine"]
pytestmark = pytest.mark.interop

Story = tuple[tuple[str, str], ...]
"""What is typed, and what is then on the screen; a regular expression."""

CONTAINER: Story = (
    ("container create --name box --label a=b --annotation k=v --pull never busybox sleep 60", "^"),
    ("container start box", "^box$"),
    ("container ls --filter label=a=b --no-trunc -s", r"0B \(virtual "),
    ("container ls --filter is-task=true -aq", "^$"),
    ("container ls --filter is-task=false -q", "^[0-9a-f]{12}$"),
    ("container ls -lq --filter expose=80", "^$"),
    ("container ls -n 1 --format {{.Names}}:{{.State}}:{{.RunningFor}}", "^box:running:"),
    ("container ls --format json", '"Names":"box"'),
    ("container exec -e X=y -u web -w /etc box sh -c 'pwd; echo $X'", "^/etc\ny$"),
    ("container exec -d box touch /made", "^$"),
    ("container update --memory 64m --memory-swap 128m --pids-limit 50 box", "^box$"),
    ("container inspect -s -f {{.HostConfig.Memory}}:{{.SizeRootFs}} box", "^67108864:[1-9]"),
    ("container stats --no-stream --no-trunc --format {{.MemUsage}} box", "64MiB$"),
    ("container top box -o pid,args", "sleep 60$"),
    ("container pause box", "^box$"),
    ("container ls --filter status=paused --format {{.Status}}", r"\(Paused\)$"),
    ("container unpause box", "^box$"),
    ("container diff box", "^A /made$"),
    ("container cp box:/etc/passwd -", "root:x:0:0"),
    ("container commit -a me -m why -c 'LABEL x=y' box made:1", "^sha256:"),
    ("container rename box other", "^$"),
    ("container restart -s INT -t 0 other", "^other$"),
    ("container kill -s KILL other", "^other$"),
    ("container wait other", "^137$"),
    ("container logs --details -t -n 1 other", "^$"),
    ("container port other", "^$"),
    ("container rm -v other", "^other$"),
    ("container prune -f --filter until=1h --filter label!=x", "Total reclaimed space: 0B"),
)
IMAGE: Story = (
    ("image ls --digests --no-trunc", "busybox +latest +<none> +sha256:"),
    ("image ls -a --filter reference=made --format {{.Repository}}:{{.Tag}}", "^made:1$"),
    ("image history --platform linux/{arch} --human=false --format {{.Comment}} made:1", "^why$"),
    ("image history --platform linux/riscv64 made:1", "does not match the specified platform"),
    ("image inspect --platform linux/{arch} -f {{.Author}} made:1", "^me$"),
    ("image inspect --platform linux/riscv64 made:1", "does not match the specified platform"),
    ("image tag made:1 made:2", "^$"),
    ("image save --platform linux/riscv64 made:1", "does not provide the specified platform"),
    ("image save --platform linux/{arch} -o {root}/saved.tar made:1 made:2", "^$"),
    ("image rm --platform linux/riscv64 made:1", "does not match the specified platform"),
    ("image rm -f --no-prune --platform linux/{arch} made:1 made:2", "Untagged: made:2"),
    ("image load --platform linux/riscv64 -i {root}/saved.tar", "specified platform"),
    ("image load -q --platform linux/{arch} -i {root}/saved.tar", "Loaded image: made:1"),
    (
        "image import -m what -c 'LABEL x=y' --platform linux/arm64 {root}/saved.tar in:1",
        "^sha256:",
    ),
    ("image inspect -f {{.Architecture}}:{{.Comment}} in:1", "^arm64:what$"),
    ("image pull -q 127.0.0.1:1/nothing", "connection refused"),
    ("image push -a 127.0.0.1:1/nothing", "does not exist locally"),
    ("image rm made:1 made:2 in:1", "Deleted: sha256:"),
    ("image prune -af --filter until=1h --filter label!=x", "Total reclaimed space: 0B"),
)
VOLUME: Story = (
    ("volume create --label a=b -o type=tmpfs -o device=tmpfs -o o=size=1m data", "^data$"),
    ("volume create --name one two", "cannot specify a volume-name through both"),
    ("volume create -d none other", 'plugin "none" not found'),
    ("volume create -o colour=red data2", 'invalid option: "colour"'),
    ("volume ls -f dangling=true -f driver=local -f label=a=b -f name=at -q", "^data$"),
    ("volume ls --format {{.Name}}:{{.Driver}}:{{.Scope}}:{{.Labels}}", "^data:local:local:a=b$"),
    ("volume inspect -f {{.Options.type}} data", "^tmpfs$"),
    ("volume rm -f data nothing", "^data$"),
    ("volume prune -af --filter label=a", "Total reclaimed space: 0B"),
)
SYSTEM: Story = (
    ("system df --format {{.Type}}:{{.TotalCount}}", "^Images:1$"),
    ("system df -v", "^Build cache usage: "),
    # Of containers: the CLI rounds "now" down, and the volume may be younger than a second.
    ("system events --since 1h --until 0s -f event=create --format {{.Type}}", "^container$"),
    ("system info -f {{.Plugins.Network}}", r"^\[bridge host ipvlan macvlan null\]$"),
    ("system prune -f --filter until=1h", "Total reclaimed space"),
    ("system prune -f --filter label=x --filter label!=y", "Total reclaimed space"),
    ("system prune -f --filter colour=red", "invalid filter 'colour'"),
    ("builder prune -af --filter until=1h --keep-storage 1GB", "Total reclaimed space"),
    ("network create --label a=b --internal --attachable --ipam-driver default net", "^"),
    ("network create --subnet 10.213.9.0/24 --ip-range 10.213.9.128/25 net2", "^[0-9a-f]{64}$"),
    ("network rm net2", "^net2$"),
    ("network ls -f driver=bridge -f label=a=b -f scope=local --no-trunc -q", "^[0-9a-f]{64}$"),
    ("network inspect -v -f {{.Internal}}:{{.Attachable}} net", "^true:true$"),
    ("network rm -f net nothing", "^net$"),
    ("network prune -f --filter until=1h", "^$"),
)


def test_every_group_with_its_flags(shared_engine: Engine) -> None:
    """One after the other in one engine: each story goes on with what those before left."""
    arch = shared_engine.docker("version", "-f", "{{.Server.Arch}}").stdout.strip()
    wrong: list[tuple[str, str]] = []
    for typed, expected in (*CONTAINER, *IMAGE, *VOLUME, *SYSTEM):
        line = typed.replace("{arch}", arch).replace("{root}", str(shared_engine.root))
        done = shared_engine.docker(*shlex.split(line), check=False)
        screen = done.stdout + done.stderr
        if re.search(expected, screen, re.MULTILINE) is None:
            wrong.append((line, screen))
    assert wrong == []
