"""What a stage has become so far: configuration, arguments, layers and history.

Follows the image-spec and BuildKit's conventions for history: one entry per instruction except
ONBUILD, ``empty_layer`` for those that made none, and times that come from the layers, so that a
build that finds everything in the cache gives the same image again.
"""

import copy
from dataclasses import dataclass, field
from typing import Final

import msgspec

from kedge.images.layering import LayerRecord
from kedge.lib.clock import format_rfc3339
from kedge.oci.image_spec import ContainerConfig, History, ImageConfig, RootFS
from kedge.oci.platforms import Platform

HISTORY_COMMENT: Final = "buildkit.dockerfile.v0"
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL: Final = ("/bin/sh", "-c")
NO_TIME: Final = ""
"""An image without layers, on no base, has no time that another build would find again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHistory:
    """A history entry of this build; its time is known when all layers are."""

    created_by: str
    layer: LayerRecord | None


@dataclass(slots=True, kw_only=True)
class StageState:
    """The growing result of a stage."""

    platform: Platform
    config: ContainerConfig
    author: str = ""
    args: dict[str, str | None] = field(default_factory=dict[str, str | None])
    """Declared arguments in order; None for one without a value."""
    layers: list[LayerRecord] = field(default_factory=list[LayerRecord])
    base_history: list[History] = field(default_factory=list[History])
    history: list[NewHistory] = field(default_factory=list[NewHistory])
    base: ImageConfig | None = None
    base_id: str = ""
    """The image this stage started from."""
    cmd_is_set: bool = False

    @property
    def chain_id(self) -> str:
        """The snapshot the next step starts from; empty before the first layer."""
        return self.layers[-1].chain_id if self.layers else ""

    @property
    def shell(self) -> tuple[str, ...]:
        """What the shell form of a command is handed to."""
        return tuple(self.config.shell) or DEFAULT_SHELL

    def variables(self) -> dict[str, str]:
        """Return what ``$name`` means now: arguments, and over them the image's variables."""
        values = {name: value for name, value in self.args.items() if value is not None}
        for item in self.config.env:
            name, _, value = item.partition("=")
            values[name] = value
        return values

    def change(self, **changes: object) -> None:
        """Replace fields of the container configuration."""
        self.config = msgspec.structs.replace(self.config, **changes)

    def note(self, created_by: str, layer: LayerRecord | None = None) -> None:
        """Add an entry to the history, with the layer it made."""
        self.history.append(NewHistory(created_by=created_by, layer=layer))
        if layer is not None:
            self.layers.append(layer)

    @property
    def unchanged_id(self) -> str:
        """The id of the image this stage still is; empty once anything changed."""
        same = self.base is not None and not self.history and self.config == self.base.config
        return self.base_id if same else ""

    def child(self) -> "StageState":
        """Return the state a stage that starts from this one begins with."""
        state = copy.copy(self)
        state.args = dict(self.args)
        state.layers = list(self.layers)
        state.history = list(self.history)
        state.cmd_is_set = False
        state.change(on_build=[])
        return state

    def image_config(self, epoch_ns: int | None) -> ImageConfig:
        """Return the configuration of an image made of what stands now."""
        history = [*self.base_history, *self._dated_history(epoch_ns)]
        created = history[-1].created if history else self.base.created if self.base else ""
        return ImageConfig(
            created=created or NO_TIME,
            author=self.author,
            architecture=self.platform.architecture,
            variant=self.platform.variant,
            os=self.platform.os,
            os_version=self.platform.os_version,
            config=self.config,
            rootfs=RootFS(diff_ids=[layer.diff_id for layer in self.layers]),
            history=history,
        )

    def _dated_history(self, epoch_ns: int | None) -> list[History]:
        made = [entry.layer.created_ns for entry in self.history if entry.layer]
        if epoch_ns is not None:
            current = format_rfc3339(epoch_ns)
        elif made:
            current = format_rfc3339(made[0])
        else:
            current = self._base_created()
        dated: list[History] = []
        for entry in self.history:
            if entry.layer is not None and epoch_ns is None:
                current = format_rfc3339(entry.layer.created_ns)
            dated.append(
                History(
                    created=current,
                    created_by=entry.created_by,
                    comment=HISTORY_COMMENT,
                    empty_layer=entry.layer is None,
                )
            )
        return dated

    def _base_created(self) -> str:
        times = [entry.created for entry in self.base_history if entry.created]
        if times:
            return times[-1]
        return self.base.created if self.base and self.base.created else NO_TIME


def scratch_state(platform: Platform) -> StageState:
    """Return what ``FROM scratch`` begins with."""
    config = ContainerConfig(env=[f"PATH={DEFAULT_PATH}"], working_dir="/")
    return StageState(platform=platform, config=config)


def image_state(
    image_id: str, config: ImageConfig, layers: list[LayerRecord], platform: Platform
) -> StageState:
    """Return what a stage that starts from an image begins with."""
    return StageState(
        base_id=image_id,
        platform=config.image_platform() if config.architecture else platform,
        config=msgspec.structs.replace(config.config, on_build=[]),
        author=config.author,
        layers=layers,
        base_history=list(config.history),
        base=config,
    )
