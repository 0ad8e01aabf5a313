"""Signal names and numbers as Docker's flags spell them. Pure."""

import signal

from kedge.errdefs import InvalidParameterError


def parse_signal(text: str) -> int:
    """Return the number of ``TERM``, ``SIGTERM``, ``sigterm``, ``RTMIN+3`` or ``15``.

    Raises:
        InvalidParameterError: It is none, with Docker's text.
    """
    if text.isdigit():
        number = int(text)
        if 0 < number <= signal.SIGRTMAX:
            return number
        raise InvalidParameterError(f"invalid signal: {text}")
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    for base, sign in (("SIGRTMIN+", 1), ("SIGRTMAX-", -1)):
        if name.startswith(base) and name[len(base) :].isdigit():
            start = signal.SIGRTMIN if sign == 1 else signal.SIGRTMAX
            number = int(start) + sign * int(name[len(base) :])
            if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
                return number
    try:
        return int(signal.Signals[name])
    except KeyError:
        raise InvalidParameterError(f"invalid signal: {text}") from None
