"""The question before something is removed for good. Without an answer nothing is removed."""

import sys

_YES = frozenset({"y", "Y", "yes", "YES", "Yes"})


def confirm(question: str) -> bool:
    """Whether the person at the keyboard agrees; the end of input is a no."""
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stdout.write("\n")
    return answer.strip() in _YES
