"""The short form of a service's volumes: ``SOURCE:TARGET:OPTIONS``. Pure.

Paths of Windows count as paths on every system, and a colon inside ``${NAME:-default}`` does not
part anything, because files may be read without replacing variables.
"""

import re
from typing import Final

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import JsonObject

_DRIVE: Final = re.compile(r"[A-Za-z]")
_PROPAGATIONS: Final = frozenset({"rprivate", "private", "rshared", "shared", "rslave", "slave"})
_PARTS_MAX: Final = 3


def parse_volume(text: str) -> JsonObject:
    """Return the long form of a short form.

    Raises:
        InvalidParameterError: With the reference implementation's text.
    """
    if not text:
        raise InvalidParameterError("invalid empty volume spec")
    if len(text) <= 2:
        return {"type": "volume", "target": text}
    parts = split_spec(text)
    if any(not part for part in parts):
        raise InvalidParameterError(f"invalid spec: {text}: empty section between colons")
    if len(parts) > _PARTS_MAX:
        raise InvalidParameterError(f"invalid spec: {text}: too many colons")
    if len(parts) == 1:
        return {"type": "volume", "target": parts[0], "volume": {}}
    source, target = parts[0], parts[1]
    volume: JsonObject = {"type": "volume", "source": source, "target": target}
    settings: JsonObject = {}
    if _is_host_path(source):
        volume["type"] = "bind"
        settings["create_host_path"] = True
    for option in parts[2].split(",") if len(parts) == _PARTS_MAX else ():
        _apply(option, volume, settings)
    volume[str(volume["type"])] = settings
    return volume


def _apply(option: str, volume: JsonObject, settings: JsonObject) -> None:
    bind = volume["type"] == "bind"
    match option.lower():
        case "ro":
            volume["read_only"] = True
        case "rw":
            volume["read_only"] = False
        case "nocopy" if not bind:
            settings["nocopy"] = True
        case "z" if bind:
            settings["selinux"] = option
        case mode if bind and mode in _PROPAGATIONS:
            settings["propagation"] = mode
        case _:
            # The reference implementation ignores what it does not know.
            return


def split_spec(text: str) -> list[str]:
    """Return the parts between colons, but for drive letters and colons inside braces."""
    parts: list[str] = []
    current = ""
    depth = 0
    for index, char in enumerate(text):
        if char == "{" and (depth or text[index - 1 : index] == "$"):
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        drive = _DRIVE.fullmatch(current) and text[index + 1 : index + 2] in {"\\", "/"}
        if char == ":" and not depth and not drive:
            parts.append(current)
            current = ""
        else:
            current += char
    return [*parts, current]


def has_source(text: str) -> bool:
    """Tell whether a short form names a source before its target."""
    bare_drive = len(text) == 2 and text.endswith(":") and _DRIVE.match(text) is not None
    parts = split_spec(text)
    return len(parts) > 1 and bool(parts[0]) and not bare_drive


def _is_host_path(source: str) -> bool:
    return source.startswith((".", "/", "~", "\\\\")) or (
        re.match(r"[A-Za-z]:[\\/]", source) is not None
    )


def format_volume(volume: JsonObject) -> str:
    """Return the short form of a long form."""
    settings = volume.get(str(volume.get("type")))
    options = ["ro" if volume.get("read_only") else "rw"]
    if isinstance(settings, dict):
        options += [str(settings[key]) for key in ("selinux", "propagation") if settings.get(key)]
        options += ["nocopy"] if settings.get("nocopy") else []
    source = f"{volume['source']}:" if volume.get("source") else ""
    return f"{source}{volume['target']}:{','.join(options)}"
