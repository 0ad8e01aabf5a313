"""kedge: a complete container engine in Python.

This package imports nothing by itself, so that each process pays only for what it uses.
`ARCHITECTURE.md` says which folder owns what.
"""

__version__ = "0.1.0"
