"""Values of flags as Docker writes them, to fields of the Engine API. Pure, one module a flag."""
