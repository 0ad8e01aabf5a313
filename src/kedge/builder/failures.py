"""How a build fails once its Dockerfile is understood."""

from kedge.errdefs import KedgeError, UnavailableError


class StepFailedError(KedgeError):
    """A RUN ended with something else than 0; the steps before it stay cached.

    Attributes:
        exit_code: What the command returned.
    """

    def __init__(self, message: str, *, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class BuildCancelledError(UnavailableError):
    """Whoever asked for the build went away, or cancelled it."""
