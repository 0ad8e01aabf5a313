"""``kedge build --cache-from`` and ``--cache-to``: folders of this machine go along, come back."""

import json
import os
import sys
from typing import Final, NamedTuple

from kedge.api.buildcaches import CacheKind, parse_cache
from kedge.cli.flags import Options

_NAME: Final = "kedge-cache-"


class Caches(NamedTuple):
    """The caches of one build."""

    sources: list[str]
    """What the engine is told to ask."""
    wanted: list[str]
    """What the engine is told to write."""
    folders: list[str]
    """``NAME=FOLDER`` of local ones that are sent with the context."""
    targets: list[str]
    """Folders that local ones are written to, in order."""

    def query(self) -> dict[str, str]:
        """Return the parameters of the request."""
        return {
            "cachefrom": json.dumps(self.sources) if self.sources else "",
            "cacheto": json.dumps(self.wanted) if self.wanted else "",
        }


def caches_of(options: Options) -> Caches:
    """Return the caches a command line asks for.

    A local cache that does not exist yet is none: the first build of a job finds an empty folder.

    Raises:
        InvalidParameterError: One cannot be read.
    """
    caches = Caches([], [], [], [])
    for text in options.texts("cache-from"):
        spec = parse_cache(text, target=False)
        if spec.kind is not CacheKind.LOCAL:
            caches.sources.append(text)
        elif os.path.exists(os.path.join(spec.place, "index.json")):
            name = f"{_NAME}{len(caches.folders)}"
            caches.folders.append(f"{name}={spec.place}")
            caches.sources.append(f"type=local,src={name},tag={spec.tag}")
        else:
            sys.stderr.write(f"kedge: no cache in {spec.place} yet\n")
    for text in options.texts("cache-to"):
        spec = parse_cache(text, target=True)
        caches.wanted.append(text)
        if spec.kind is CacheKind.LOCAL:
            caches.targets.append(spec.place)
    return caches
