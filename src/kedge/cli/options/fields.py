"""Fields with commas between them, quoted as CSV where needed. Pure."""

from kedge.errdefs import InvalidParameterError


def split_fields(text: str) -> list[str]:
    """Return the fields of one CSV line.

    Raises:
        InvalidParameterError: A quote in the wrong place; the text is Go's.
    """
    if '"' not in text:
        return text.split(",")
    fields: list[str] = []
    position = 0
    while position <= len(text):
        if text.startswith('"', position):
            field, position = _quoted(text, position + 1)
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            field, start, position = text[position:end], position, end
            quote = field.find('"')
            if quote >= 0:
                raise InvalidParameterError(
                    f'parse error on line 1, column {start + quote + 1}: bare " in non-quoted-field'
                )
        fields.append(field)
        position += 1
    return fields


def _quoted(text: str, position: int) -> tuple[str, int]:
    field = ""
    while True:
        end = text.find('"', position)
        if end < 0:
            raise _bad_quote(len(text) + 1)
        field += text[position:end]
        if text.startswith('"', end + 1):
            field, position = field + '"', end + 2
            continue
        if end + 1 < len(text) and text[end + 1] != ",":
            raise _bad_quote(end + 1)
        return field, end + 1


def _bad_quote(column: int) -> InvalidParameterError:
    return InvalidParameterError(
        f'parse error on line 1, column {column}: extraneous or missing " in quoted-field'
    )
