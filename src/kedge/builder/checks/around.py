"""`BuildChecks`: the checks around one build, told before what fails, or once it is done."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kedge.builder.checks.checking import CheckReport, CheckRequest, check_dockerfile
from kedge.builder.events import Event, Warned
from kedge.builder.failures import BuildCancelledError

if TYPE_CHECKING:
    from kedge.builder.findings import CheckWarning


class BuildChecks:
    """A context manager around the steps of a build; each warning is told once."""

    def __init__(self, request: CheckRequest, on_event: Callable[[Event], None]) -> None:
        """Check ``request`` and report to ``on_event``."""
        self._request = request
        self._on_event = on_event
        self._told: set[CheckWarning] = set()

    def before(self) -> None:
        """Fail where the file asks that warnings end the build.

        Raises:
            DockerfileError: There are some; the message names the rules.
        """
        report = check_dockerfile(self._request)
        failure = report.failure()
        if report.error is not None or failure is not None:
            self._tell(report)
        if failure is not None:
            raise failure

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # By now more is known of the base images.
        if kind is None or not issubclass(kind, BuildCancelledError):
            self._tell(check_dockerfile(self._request))

    def _tell(self, report: CheckReport) -> None:
        for warning in report.warnings:
            if warning not in self._told:
                self._told.add(warning)
                self._on_event(Warned(text=str(warning), check=warning))
