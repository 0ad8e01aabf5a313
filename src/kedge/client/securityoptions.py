"""``--security-opt`` and ``security_opt``: seccomp profiles are read here, on the client."""

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject


def security_options(texts: list[str]) -> JsonObject:
    """Return the fields for ``--security-opt``; a seccomp profile is read here, on the client.

    Raises:
        InvalidParameterError: No ``key=value``, or the profile cannot be read or is not JSON.
    """
    remaining: list[Json] = []
    fields: JsonObject = {}
    for text in texts:
        if text == "systempaths=unconfined":
            fields |= {"MaskedPaths": [], "ReadonlyPaths": []}
            continue
        name, separator, content = text.partition("=")
        if not separator and ":" in text:
            name, _, content = text.partition(":")
        elif not separator and text != "no-new-privileges":
            raise InvalidParameterError(f"invalid --security-opt: {text}: want name=value")
        if name == "seccomp" and content not in {"unconfined", "builtin"}:
            remaining.append(f"seccomp={_load_profile(content)}")
        else:
            remaining.append(text)
    if remaining:
        fields["SecurityOpt"] = remaining
    return fields


def _load_profile(path: str) -> str:
    import json  # noqa: PLC0415 - rarely needed

    try:
        with open(path, encoding="utf-8") as file:
            return json.dumps(json.load(file), separators=(",", ":"))
    except OSError as error:
        raise InvalidParameterError(
            f"opening seccomp profile ({path}) failed: {(error.strerror or '').lower()}"
        ) from None
    except ValueError as error:
        raise InvalidParameterError(f"seccomp profile {path} is not JSON: {error}") from None
