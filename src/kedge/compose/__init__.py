"""Compose as a client program: the loader, the model it yields, and what is done with it.

Vocabulary: the Compose Specification. Loading is pure but for the files it names; nothing here
knows the engine's inside. No other verb of the client imports this package.
"""
