"""Made-up names for containers: an adjective and somebody who shaped computing or science."""

import secrets
from typing import Final

_LEFT: Final = (
    "amber", "brave", "bright", "brisk", "calm", "candid", "clever", "cosmic", "crisp", "curious",
    "daring", "eager", "elegant", "fair", "fluent", "gentle", "golden", "happy", "honest", "humble",
    "jolly", "keen", "kind", "lively", "lucid", "mellow", "merry", "mindful", "modest", "noble",
    "patient", "placid", "polite", "proud", "quick", "quiet", "quirky", "serene", "sharp", "silent",
    "steady", "subtle", "sunny", "swift", "tender", "tidy", "upbeat", "vivid", "warm", "witty",
)  # fmt: skip

_RIGHT: Final = (
    "ada", "archimedes", "babbage", "banach", "bardeen", "bell", "bohr", "boole", "curie", "darwin",
    "dijkstra", "einstein", "euclid", "euler", "faraday", "fermat", "feynman", "galileo", "gauss",
    "germain", "goldberg", "hamilton", "hawking", "heisenberg", "hopper", "hypatia", "johnson",
    "keller", "kepler", "knuth", "lamport", "liskov", "lovelace", "maxwell", "mccarthy", "meitner",
    "mendel", "mirzakhani", "newton", "noether", "pascal", "pasteur", "perlman", "ritchie",
    "shannon", "tesla", "thompson", "turing", "wilson", "wozniak",
)  # fmt: skip


def random_name() -> str:
    """Return a name such as ``keen_hopper``; the caller checks that it is free."""
    number = secrets.randbelow(len(_LEFT) * len(_RIGHT) * 20)
    left = _LEFT[number % len(_LEFT)]
    right = _RIGHT[number // len(_LEFT) % len(_RIGHT)]
    serial = number // (len(_LEFT) * len(_RIGHT))
    return f"{left}_{right}{serial or ''}"
