"""kedge: a complete container engine in Python.

This package imports nothing by itself, so that each process pays only for what it uses.
`ARCHITECTURE.md` says which folder owns what.
"""

from typing import Final

__version__: Final = "0.1.0"
