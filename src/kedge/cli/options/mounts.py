"""``--mount type=…,source=…,target=…`` to the API's ``Mount``. Pure but for relative paths.

Source of the grammar and texts: docker/cli ``opts/mount.go``.
"""

from __future__ import annotations

import os

from kedge.cli.options.fields import split_fields
from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject


_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0"})
_SWITCHES: Final = frozenset(
    {"readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"}
)
_PREFIXES: Final = {
    "bind": "BindOptions",
    "volume": "VolumeOptions",
    "image": "ImageOptions",
    "tmpfs": "TmpfsOptions",
}


def parse_mount(text: str) -> JsonObject:
    """Return the mount of one ``--mount`` value.

    Raises:
        InvalidParameterError: It is malformed, or options do not fit its type.
    """
    text = text.strip()
    if not text:
        raise InvalidParameterError("value is empty")
    mount: JsonObject = {"Type": "volume"}
    recursive = ""
    for field in split_fields(text):
        key, content = _read_field(field)
        if key == "bind-recursive":
            recursive = content
        else:
            _set_field(mount, key, content, field)
    _apply_recursive(mount, recursive)
    kind = str(mount["Type"])
    for prefix, options in _PREFIXES.items():
        if options in mount and prefix != kind and kind in _PREFIXES:
            raise InvalidParameterError(f"cannot mix '{prefix}-*' options with mount type '{kind}'")
    if not mount.get("Target"):
        raise InvalidParameterError("target is required")
    return mount


def _read_field(field: str) -> tuple[str, str]:
    key, equals, content = field.partition("=")
    name = key.lower()
    if name.strip() != name:
        raise InvalidParameterError(
            f"invalid option '{name.strip()}' in '{field}': option should not have whitespace"
        )
    if equals and not content:
        raise InvalidParameterError(f"invalid value for '{name}': value is empty")
    if content.strip() != content:
        raise InvalidParameterError(
            f"invalid value for '{name}' in '{field}': value should not have whitespace"
        )
    if not equals:
        if name not in _SWITCHES:
            raise InvalidParameterError(f"invalid field '{field}' must be a key=value pair")
        content = "true"
    return name, content


def _set_field(mount: JsonObject, key: str, content: str, field: str) -> None:
    setter = _SETTERS.get(key)
    if setter is None:
        raise InvalidParameterError(f"unknown option '{key}' in '{field}'")
    setter(mount, key, content)


def _options(mount: JsonObject, name: str) -> JsonObject:
    found = mount.setdefault(name, {})
    return found if isinstance(found, dict) else {}


def _set_type(mount: JsonObject, _key: str, content: str) -> None:
    mount["Type"] = content.lower()


def _set_source(mount: JsonObject, _key: str, content: str) -> None:
    # Only "." and ".." are made absolute, so that a name of a volume stays one.
    mount["Source"] = os.path.abspath(content) if content.startswith(".") else content


def _set_target(mount: JsonObject, _key: str, content: str) -> None:
    mount["Target"] = content


def _set_consistency(mount: JsonObject, _key: str, content: str) -> None:
    mount["Consistency"] = content.lower()


def _boolean(key: str, content: str) -> bool:
    if content in _TRUE:
        return True
    if content in _FALSE:
        return False
    raise InvalidParameterError(
        f"invalid value for '{key}': invalid boolean value (\"{content}\"): must be one of "
        '"true", "1", "false", or "0" (default "true")'
    )


def _set_read_only(mount: JsonObject, key: str, content: str) -> None:
    mount["ReadOnly"] = _boolean(key, content)


def _text(owner: str, name: str) -> Callable[[JsonObject, str, str], None]:
    def set_text(mount: JsonObject, _key: str, content: str) -> None:
        _options(mount, owner)[name] = content

    return set_text


def _switch(owner: str, name: str) -> Callable[[JsonObject, str, str], None]:
    def set_switch(mount: JsonObject, key: str, content: str) -> None:
        _options(mount, owner)[name] = _boolean(key, content)

    return set_switch


def _set_label(mount: JsonObject, _key: str, content: str) -> None:
    options = _options(mount, "VolumeOptions")
    _add_pair(options, "Labels", content)


def _set_driver(mount: JsonObject, _key: str, content: str) -> None:
    _options(_options(mount, "VolumeOptions"), "DriverConfig")["Name"] = content


def _set_driver_option(mount: JsonObject, _key: str, content: str) -> None:
    _add_pair(_options(_options(mount, "VolumeOptions"), "DriverConfig"), "Options", content)


def _add_pair(owner: JsonObject, name: str, content: str) -> None:
    key, _, text = content.partition("=")
    if key:
        _options(owner, name)[key] = text


def _set_tmpfs_size(mount: JsonObject, key: str, content: str) -> None:
    from kedge.lib.units import parse_ram  # noqa: PLC0415 - rarely needed

    try:
        _options(mount, "TmpfsOptions")["SizeBytes"] = parse_ram(content)
    except InvalidParameterError:
        raise InvalidParameterError(f"invalid value for {key}: {content}") from None


def _set_tmpfs_mode(mount: JsonObject, key: str, content: str) -> None:
    try:
        _options(mount, "TmpfsOptions")["Mode"] = int(content, 8)
    except ValueError:
        raise InvalidParameterError(f"invalid value for {key}: {content}") from None


def _apply_recursive(mount: JsonObject, how: str) -> None:
    if how in {"", "enabled"}:
        return
    needs: dict[str, tuple[str, Json]] = {
        "disabled": ("NonRecursive", True),
        "writable": ("ReadOnlyNonRecursive", True),
        "readonly": ("ReadOnlyForceRecursive", True),
    }
    if how not in needs:
        raise InvalidParameterError(
            f"invalid value for bind-recursive: {how}: "
            "must be enabled, disabled, writable or readonly"
        )
    if how != "disabled" and mount.get("ReadOnly") is not True:
        raise InvalidParameterError(
            f"option 'bind-recursive={how}' requires 'readonly' to be specified in conjunction"
        )
    options = _options(mount, "BindOptions")
    if how == "readonly" and options.get("Propagation") != "rprivate":
        raise InvalidParameterError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' "
            "to be specified in conjunction"
        )
    name, content = needs[how]
    options[name] = content


_SETTERS: Final = {
    "type": _set_type,
    **dict.fromkeys(("source", "src"), _set_source),
    **dict.fromkeys(("target", "dst", "destination"), _set_target),
    **dict.fromkeys(("readonly", "ro"), _set_read_only),
    "consistency": _set_consistency,
    "bind-propagation": _text("BindOptions", "Propagation"),
    "bind-idmap": _text("BindOptions", "IDMap"),
    "bind-nonrecursive": _switch("BindOptions", "NonRecursive"),
    "bind-create-src": _switch("BindOptions", "CreateMountpoint"),
    "volume-nocopy": _switch("VolumeOptions", "NoCopy"),
    "volume-subpath": _text("VolumeOptions", "Subpath"),
    "volume-label": _set_label,
    "volume-driver": _set_driver,
    "volume-opt": _set_driver_option,
    "image-subpath": _text("ImageOptions", "Subpath"),
    "tmpfs-size": _set_tmpfs_size,
    "tmpfs-mode": _set_tmpfs_mode,
}
