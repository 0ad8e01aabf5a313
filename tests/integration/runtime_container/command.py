"""`kedge-runtime` as its callers run it: a process for each command, and a state directory."""

import json
import subprocess
import sys
from pathlib import Path

from kedge.lib.jsontypes import Json, JsonObject


class Command:
    """Runs `kedge-runtime` with a state directory of its own."""

    def __init__(self, root: Path, bundle: Path, cgroup: str) -> None:
        self.root = root
        self.bundle = bundle
        self.cgroup = cgroup

    def write(self, document: JsonObject) -> None:
        linux = document["linux"]
        assert isinstance(linux, dict)
        linux["cgroupsPath"] = self.cgroup
        (self.bundle / "config.json").write_text(json.dumps(document))

    def __call__(self, *words: str, code: int = 0) -> str:
        main = [sys.executable, "-c", "from kedge.runtime.main import main; main()"]
        options = ["--root", str(self.root), "--log", str(self.root / "log"), "--log-format=json"]
        # A file, not a pipe: a container that runs on would keep a pipe open.
        with open(self.root / "output", "w+", encoding="utf-8") as output:
            done = subprocess.run(
                [*main, *options, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=60,
            )
            output.seek(0)
            text = output.read()
        assert done.returncode == code, text
        return text

    def state(self, name: str) -> JsonObject:
        document: Json = json.loads(self("state", name))
        assert isinstance(document, dict)
        return document
