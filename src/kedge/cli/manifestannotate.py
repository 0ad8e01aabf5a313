"""``kedge manifest annotate``: say for which platform an entry of a list is."""

from typing import Final

from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, value
from kedge.cli.registryaccess import manifest_lists
from kedge.client.http import EngineClient
from kedge.distribution.manifestlists import Platformed, annotate
from kedge.oci.references import parse_reference


def _run(options: Options, _client: EngineClient) -> int:
    name, source = (parse_reference(word).with_default_tag() for word in options.words)
    change = Platformed(
        os=options.text("os"),
        architecture=options.text("arch"),
        variant=options.text("variant"),
        os_version=options.text("os-version"),
    )
    annotate(manifest_lists(), name, source, change)
    return OK


COMMAND: Final = Command(
    usage="[OPTIONS] LIST MANIFEST",
    summary="Say for which platform an image of a manifest list is",
    flags=(
        value("os", "OS", "Operating system"),
        value("arch", "ARCH", "Architecture"),
        value("variant", "VARIANT", "Variant of the architecture"),
        value("os-version", "VERSION", "Version of the operating system"),
    ),
    run=_run,
    examples=(
        (
            "kedge manifest annotate --os linux --arch arm64 reg.example/app:1 reg.example/app:arm",
            "Correct what the image says",
        ),
    ),
    at_least=2,
    at_most=2,
    needs_engine=False,
)
