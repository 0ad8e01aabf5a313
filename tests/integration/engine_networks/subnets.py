"""Networks of this test process alone: another session may be at work on the host."""

import os

NET = f"10.{64 + os.getpid() % 128}"
"""The first half of every address."""
NET16 = f"{NET}.0.0/16"
SHOP = f"{NET}.77"
