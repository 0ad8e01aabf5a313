"""Pulling an image: name to parameters, progress, and the line about the result."""

import sys
from typing import TextIO

from kedge.cli.progress import checked, show_progress
from kedge.client.http import EngineClient
from kedge.oci.references import parse_reference


def pull(
    client: EngineClient, image: str, *, platform: str = "", stream: TextIO, quiet: bool = False
) -> str:
    """Pull ``image`` and return its full name.

    Raises:
        KedgeError: The name is malformed, or the engine could not.
    """
    reference = parse_reference(image)
    tag = reference.digest or reference.tag or "latest"
    if not (reference.tag or reference.digest) and not quiet:
        stream.write("Using default tag: latest\n")
    name = f"{reference.domain}/{reference.path}"
    query = {"fromImage": name, "tag": tag, "platform": platform}
    messages = client.post("/images/create", query).messages()
    if quiet:
        for _ in checked(messages):
            pass
    else:
        show_progress(messages, stream)
    sys.stdout.flush()
    separator = "@" if reference.digest else ":"
    return f"{name}{separator}{tag}"
