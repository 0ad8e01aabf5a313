"""How a build fails once its Dockerfile is understood."""

from kedge.errdefs import KedgeError, UnavailableError


class StepFailedError(KedgeError):
    """A RUN ended with something else than 0; the steps before it stay cached.

    Attributes:
        exit_code: What the command returned.
        command: The command as a shell reads it.
    """

    def __init__(self, message: str, *, exit_code: int, command: str = "") -> None:
        self.exit_code = exit_code
        self.command = command
        super().__init__(message)


class BuildCancelledError(UnavailableError):
    """Whoever asked for the build went away, or cancelled it."""
