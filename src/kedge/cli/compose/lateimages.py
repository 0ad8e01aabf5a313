"""Images for a command that may need none: what pulls and builds is only loaded when one does."""

from kedge.cli.compose.buildflags import BuildFlags
from kedge.compose.perform import Images
from kedge.compose.stage import Stage
from kedge.compose.steps import BuildImage, PullImage, PushImage


class LateImages:
    """Does what `kedge.cli.compose.imaging.Imaging` does, from the first call on."""

    def __init__(self, flags: BuildFlags | None = None, *, may_fail: bool = False) -> None:
        """Keep what it is made with."""
        self._flags = flags
        self._may_fail = may_fail

    def pull(self, stage: Stage, step: PullImage) -> None:
        """Pull an image."""
        self._images().pull(stage, step)

    def build(self, stage: Stage, step: BuildImage) -> None:
        """Build the image of a service."""
        self._images().build(stage, step)

    def push(self, stage: Stage, step: PushImage) -> None:
        """Push the image of a service."""
        self._images().push(stage, step)

    def _images(self) -> Images:
        from kedge.cli.compose.imaging import Imaging  # noqa: PLC0415 - see above

        return Imaging(self._flags, may_fail=self._may_fail)
