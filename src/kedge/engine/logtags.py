"""What a container's log lines carry beside their text: the tag and the extra attributes. Pure.

A tag is a Go template over a few facts about the container; fields alone, without functions and
pipelines, which no driver's documentation uses.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

from kedge.engine.logoptions import chosen
from kedge.engine.record import ContainerRecord
from kedge.errdefs import InvalidParameterError
from kedge.lib.ids import short_id

_ACTION: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_DEFAULT_TAG: Final = "{{.ID}}"
_JOURNAL_NAME: Final = re.compile(r"[^A-Z0-9_]")


def check_tag(options: Mapping[str, str]) -> None:
    """Raise unless the ``tag`` option is a template of known fields.

    Raises:
        InvalidParameterError: It is not.
    """
    text = options.get("tag", "")
    for action in _ACTION.findall(text):
        if str(action) not in _FIELDS:
            raise InvalidParameterError(
                f"tag: {{{{{action}}}}} is no field of a log tag: use "
                + ", ".join(f"{{{{{name}}}}}" for name in _FIELDS)
            )
    rest = _ACTION.sub("", text)
    if "{{" in rest or "}}" in rest:
        raise InvalidParameterError(f"tag: {text!r}: unclosed action")


def render_tag(record: ContainerRecord, options: Mapping[str, str], *, hostname: str) -> str:
    """Return the tag of a container, by default its short id.

    Raises:
        InvalidParameterError: The template is none.
    """
    check_tag(options)
    facts = _facts(record, hostname)
    template = options.get("tag", "") or _DEFAULT_TAG
    return _ACTION.sub(lambda match: facts[match[1]], template)


def extra_attributes(record: ContainerRecord, options: Mapping[str, str]) -> dict[str, str]:
    """Return the labels and the environment that the options ask for."""
    found = chosen(options, "labels", record.config.labels or {})
    pairs = (item.partition("=") for item in record.config.env or ())
    return found | chosen(options, "env", {name: value for name, _, value in pairs})


def json_attributes(attributes: Mapping[str, str]) -> str:
    """Return attributes as Go writes a map in JSON; empty for none."""
    if not attributes:
        return ""
    text = json.dumps(dict(attributes), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def journal_fields(
    record: ContainerRecord, options: Mapping[str, str], *, tag: str
) -> tuple[tuple[str, str], ...]:
    """Return the fields of every journal entry of a container, named as Docker names them."""
    fields = {
        "CONTAINER_ID": short_id(record.id),
        "CONTAINER_ID_FULL": record.id,
        "CONTAINER_NAME": record.name,
        "CONTAINER_TAG": tag,
        "IMAGE_NAME": record.config.image,
        "SYSLOG_IDENTIFIER": tag,
    }
    for name, value in extra_attributes(record, options).items():
        # The journal takes capitals, digits and underscores, and keeps a leading one for itself.
        key = _JOURNAL_NAME.sub("_", name.upper()).lstrip("_0123456789")
        if key:
            fields.setdefault(key, value)
    return tuple(fields.items())


def _facts(record: ContainerRecord, hostname: str) -> dict[str, str]:
    image = record.image_id.removeprefix("sha256:")
    return {
        ".ID": short_id(record.id),
        ".FullID": record.id,
        ".Name": record.name,
        ".ImageID": image[:12],
        ".ImageFullID": record.image_id,
        ".ImageName": record.config.image,
        ".Hostname": hostname,
        ".Command": " ".join([record.path, *record.args]),
        ".DaemonName": "docker",
        ".ContainerID": record.id,
        ".ContainerName": f"/{record.name}",
        ".ContainerImageID": record.image_id,
        ".ContainerImageName": record.config.image,
    }


_FIELDS: Final = (
    ".ID", ".FullID", ".Name", ".ImageID", ".ImageFullID", ".ImageName", ".Hostname", ".Command",
    ".DaemonName", ".ContainerID", ".ContainerName", ".ContainerImageID", ".ContainerImageName",
)  # fmt: skip
