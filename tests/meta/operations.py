"""Which operations of the API the tests on the host call, read from the tests' own source.

A test counts for an operation when its body asks for it: a method beside a path
(``ask(engine, "GET", "/info")``, ``engine.get("/info")``) or a verb of the docker or kedge CLI
(``engine.docker("pause", ...)``). Comments, names and helpers outside of tests prove nothing.
"""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from kedge.server.request import Request
from kedge.server.response import AnyResponse, Response
from kedge.server.router import Router
from kedge.server.routes import ALL_ROUTES

ROOT: Final = Path(__file__).parent.parent.parent
FOLDERS: Final = ("tests/integration", "tests/interop")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
# What one run of a verb calls, as recorded from docker 28.2.2; none that depends on its flags.
VERBS: Final = {
    "attach": ("ContainerAttach",), "build": ("ImageBuild", "KedgeBuildContext"),
    "commit": ("ImageCommit",),
    "create": ("ContainerCreate",), "diff": ("ContainerChanges",), "events": ("SystemEvents",),
    "exec": ("ContainerExec", "ExecStart"), "export": ("ContainerExport",),
    "history": ("ImageHistory",), "images": ("ImageList",), "import": ("ImageCreate",),
    "info": ("SystemInfo",), "kill": ("ContainerKill",), "load": ("ImageLoad",),
    "logs": ("ContainerLogs",), "network connect": ("NetworkConnect",),
    "network create": ("NetworkCreate",), "network disconnect": ("NetworkDisconnect",),
    "network inspect": ("NetworkInspect",), "network ls": ("NetworkList",),
    "network prune": ("NetworkPrune",), "network rm": ("NetworkDelete",),
    "pause": ("ContainerPause",), "port": ("ContainerInspect",), "ps": ("ContainerList",),
    "pull": ("ImageCreate",), "push": ("ImagePush",), "rename": ("ContainerRename",),
    "restart": ("ContainerRestart",), "rm": ("ContainerDelete",), "rmi": ("ImageDelete",),
    "login": ("SystemAuth",), "search": ("ImageSearch",),
    "image bootstrap": ("KedgeImageBootstrap",),
    "save": ("ImageGetAll",), "start": ("ContainerStart",), "stats": ("ContainerStats",),
    "stop": ("ContainerStop",), "system df": ("SystemDataUsage",), "tag": ("ImageTag",),
    "container prune": ("ContainerPrune",), "image prune": ("ImagePrune",),
    "builder prune": ("BuildPrune",), "top": ("ContainerTop",), "unpause": ("ContainerUnpause",),
    "update": ("ContainerUpdate",), "version": ("SystemVersion",),
    "volume create": ("VolumeCreate",), "volume inspect": ("VolumeInspect",),
    "volume ls": ("VolumeList",), "volume prune": ("VolumePrune",),
    "volume rm": ("VolumeDelete",), "wait": ("ContainerWait",),
    "run": ("ContainerCreate", "ContainerStart", "ContainerWait"),
}  # fmt: skip


async def _unused(_request: Request) -> AnyResponse:
    return Response()


_ROUTER: Final = Router((route, _unused) for route in ALL_ROUTES)


def find_tests() -> dict[str, str]:
    """Return, for each operation a test asks for, the first such test as ``file::function``."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("test_*.py")):
            name = path.relative_to(ROOT).as_posix()
            for test, operation in operations_in(path.read_text(encoding="utf-8")):
                found.setdefault(operation, f"{name}::{test}")
    return found


def operations_in(source: str) -> Iterator[tuple[str, str]]:
    """Yield each test function of a module with each operation it asks for."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for call in ast.walk(node):
                if isinstance(call, (ast.Call, ast.Tuple)):
                    for operation in _operations(call):
                        yield node.name, operation


def _operations(node: ast.Call | ast.Tuple) -> Iterator[str]:
    words = [_text(item) for item in (node.args if isinstance(node, ast.Call) else node.elts)]
    for method, path in pairwise(words):
        if method in _METHODS and path.startswith("/"):
            yield from _match(method, path)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not words:
        return
    if node.func.attr in {"get", "post", "delete"} and words[0].startswith("/"):
        yield from _match(node.func.attr.upper(), words[0])
    if node.func.attr in {"docker", "kedge"}:
        yield from VERBS.get(words[0], ())
        yield from VERBS.get(" ".join(words[:2]), ())


def _match(method: str, path: str) -> Iterator[str]:
    bare = path.partition("?")[0]
    if bare.startswith("/v1."):
        bare = "/" + bare[1:].partition("/")[2]
    found = _ROUTER.match(method, bare)
    if found is not None:
        yield found.route.operation


def _text(node: ast.expr) -> str:
    """Return a literal's text; what is filled in at run time stands as ``x``."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(p) if isinstance(p, ast.Constant) else "x" for p in node.values)
    return ""
