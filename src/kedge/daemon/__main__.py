"""``python -m kedge.daemon`` is ``kedged``."""

from kedge.daemon.main import main

main()
