"""``kedge image copy``: from one registry or OCI layout to another, without an engine."""

import sys
from contextlib import closing
from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.registryaccess import INSECURE, open_access
from kedge.client.http import EngineClient
from kedge.distribution.access import RegistryAccess
from kedge.distribution.copying import CopyOptions, ImageCopy
from kedge.distribution.failures import RegistryRefusedError, pull_failure
from kedge.distribution.places import LayoutPlace, Place, RegistryPlace
from kedge.errdefs import InvalidParameterError
from kedge.oci.platforms import parse_platform
from kedge.oci.references import Reference, parse_reference

_LAYOUT: Final = "oci:"
_REGISTRY: Final = "docker://"


def _run(options: Options, _client: EngineClient) -> int:
    source, target = options.words
    platform = options.text("platform")
    copy_options = CopyOptions(
        platform=parse_platform(platform) if platform else None,
        referrers=options.on("referrers"),
    )

    def report(line: str) -> None:
        if not options.on("quiet"):
            sys.stderr.write(f"{line}\n")

    with closing(open_access(options)) as access:
        origin = _open_place(source, access, push=False)
        same = _mount_source(source, target)
        goal = _open_place(target, access, push=True, mounts_from=same)
        try:
            done = ImageCopy(origin, goal, copy_options, report).run()
        except RegistryRefusedError as error:
            name = source if error.problem.status == 404 else target
            host = _reference(name).domain if not name.startswith(_LAYOUT) else name
            raise pull_failure(error.problem, _reference(name), host) from error
    sys.stdout.write(f"{done.digest}\n")
    return OK


def _open_place(
    word: str, access: RegistryAccess, *, push: bool, mounts_from: tuple[str, ...] = ()
) -> Place:
    if word.startswith(_LAYOUT):
        path, _, name = word.removeprefix(_LAYOUT).partition(":")
        if not path:
            raise InvalidParameterError(f'"{word}": want oci:DIR or oci:DIR:NAME')
        return LayoutPlace(path, name)
    reference = _reference(word)
    client = access.client(reference, push=push, mounts_from=mounts_from)
    return RegistryPlace(client, reference.digest or reference.tag)


def _reference(word: str) -> Reference:
    return parse_reference(word.removeprefix(_REGISTRY)).with_default_tag()


def _mount_source(source: str, target: str) -> tuple[str, ...]:
    if source.startswith(_LAYOUT) or target.startswith(_LAYOUT):
        return ()
    one, other = _reference(source), _reference(target)
    return (one.path,) if one.domain == other.domain and one.path != other.path else ()


COMMAND: Final = Command(
    usage="[OPTIONS] SOURCE TARGET",
    summary="Copy an image between registries and OCI layouts (oci:DIR[:NAME]), all platforms",
    flags=(
        value("platform", "OS/ARCH", "Copy only this platform"),
        switch("referrers", "Also copy signatures and whatever else is about the image"),
        switch("quiet", "Do not show progress", short="q"),
        INSECURE,
    ),
    run=_run,
    examples=(
        ("kedge image copy debian:12 registry.example.com/debian:12", "From registry to registry"),
        ("kedge image copy registry.example.com/app:1 oci:backup:app-1", "To a folder"),
    ),
    at_least=2,
    at_most=2,
    needs_engine=False,
)
