"""The gaps between the words of an instruction."""

import re
from typing import Final

WORD_GAP: Final = re.compile(r"[\t\v\f\r ]+")
"""What separates the words of an instruction; a line break never reaches this point."""
