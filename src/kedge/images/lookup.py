"""Which image a user means: by name, by name and digest, by id or by the beginning of an id.

Order and texts follow moby `daemon/images/image.go`.
"""

from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.images.records import ImageRecords
from kedge.oci.references import parse_any_reference


def resolve_id(records: ImageRecords, text: str) -> str:
    """Return the full id of the image that ``text`` means.

    A name goes before the beginning of an id that reads the same.

    Raises:
        NotFoundError: ``No such image: …``, Docker's text, from which the client decides to pull.
        InvalidParameterError: No name at all, or the beginning of several ids.
    """
    parsed = parse_any_reference(text)
    if isinstance(parsed, str):
        shown = parsed
        image_id = parsed if records.row(parsed) else None
    else:
        name = parsed.with_default_tag()
        shown = name.familiar()
        lookup = name._replace(tag="") if name.digest else name
        image_id = records.named(lookup) or _by_prefix(records, text)
    if image_id is None:
        raise NotFoundError(f"No such image: {shown}")
    return image_id


def _by_prefix(records: ImageRecords, text: str) -> str | None:
    prefix = text if text.startswith("sha256:") else f"sha256:{text}"
    digits = prefix.removeprefix("sha256:")
    if not digits or digits.strip("0123456789abcdef"):
        return None
    found = records.ids_beginning(prefix)
    if len(found) > 1:
        # compat: Docker says "No such image" here, and its client would go and pull the digits.
        raise InvalidParameterError(
            f'ambiguous reference: "{text}" is the beginning of several image ids; give more digits'
        )
    return found[0] if found else None
