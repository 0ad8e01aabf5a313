"""Pulling an image: name to parameters, progress, and the line about the result."""

from __future__ import annotations

import os
import sys

from kedge.cli.flags import UsageError
from kedge.cli.progress import checked, show_progress
from kedge.client.credentials import CredentialStore, config_directory, registry_auth_headers
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.references import parse_reference

if TYPE_CHECKING:
    from typing import TextIO

    from kedge.client.http import EngineClient


def pull(
    client: EngineClient,
    image: str,
    *,
    platform: str = "",
    stream: TextIO,
    quiet: bool = False,
    all_tags: bool = False,
) -> str:
    """Pull ``image`` and return its full name.

    Raises:
        KedgeError: The name is malformed, or the engine could not.
    """
    reference = parse_reference(image)
    tag = reference.digest or reference.tag or "latest"
    if all_tags:
        if reference.tag or reference.digest:
            raise UsageError("tag can't be used with --all-tags/-a")
        tag = ""
    elif not (reference.tag or reference.digest) and not quiet:
        stream.write("Using default tag: latest\n")
    name = f"{reference.domain}/{reference.path}"
    query = {"fromImage": name, "tag": tag, "platform": platform}
    headers = registry_auth_headers(CredentialStore(config_directory(os.environ)), reference.domain)
    messages = client.request("POST", "/images/create", query, headers=headers).messages()
    if quiet:
        for _ in checked(messages):
            pass
    else:
        show_progress(messages, stream)
    sys.stdout.flush()
    separator = "@" if reference.digest else ":"
    return f"{name}{separator}{tag}" if tag else name
