"""``kedged``, and ``python -m kedge.daemon``: what there is to do before anything else is read.

Whatever the engine's modules make while they are read stays, so looking for garbage among it costs
a start a tenth of a second of processor time for nothing, and so would every later look. It is on
again when the last of them has been read.
"""

import gc


def main() -> None:
    """Run the engine."""
    gc.disable()
    from kedge.daemon.main import main as run  # noqa: PLC0415 - that is what this is about

    run()


if __name__ == "__main__":
    main()
