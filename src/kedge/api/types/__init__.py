"""Wire types of the Engine API 1.51, one module per noun.

Owns: the JSON shapes, as msgspec Structs whose wire names are Docker's Go names. A field's
default is Go's zero value. Vocabulary: moby's `api/types`. Validation of values, old API
versions and HTTP are not here (`kedge.engine`, `kedge.server`).
"""
