"""Every output of one build, in the order asked for.

The image store comes first, because it is the one that cannot wait for anybody; then what goes
away. A result is made into documents once for each different wish, and nothing is written for an
output before all of it exists.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from kedge.api.buildoutputs import BuildOutput, OutputKind
from kedge.builder.events import Event, ExportDone, ExportStarted, ImageBuilt, ImageTagged, Warned
from kedge.builder.exporters.archives import bundle_pieces, layout_members, write_archive
from kedge.builder.exporters.documents import Bundle, describe, make_bundle
from kedge.builder.exporters.recompress import recompressed
from kedge.builder.exporters.registry import Registries, push_bundle
from kedge.builder.exporters.result import BuiltImage
from kedge.builder.exporters.sinks import Sinks
from kedge.builder.exporters.trees import tree_members, write_tree
from kedge.content.leases import Lease
from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.images.image import Image, NewLayer
from kedge.images.layering import Layering
from kedge.images.store import ImageStore
from kedge.oci.image_spec import Descriptor
from kedge.oci.references import Reference, parse_reference

_WITHOUT_INDEX: Final = frozenset({OutputKind.IMAGE, OutputKind.DOCKER, OutputKind.CACHE_ONLY})


class ImageStores(Protocol):
    """A folder of the client's, which keeps the index of the layout in it itself."""

    def write_image(self, blobs: Iterable[tuple[Descriptor, Iterable[bytes]]]) -> None:
        """Write the blobs of an image, its document last."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """What the outputs of one build share."""

    images: ImageStore
    layering: Layering
    lease: Lease
    sinks: Sinks | None
    registries: Registries | None
    stores: ImageStores | None
    epoch_ns: int | None
    on_event: Callable[[Event], None]
    check: Callable[[], None]
    """Raises when nobody waits for the build any more."""

    def export(
        self, outputs: Sequence[BuildOutput], built: Sequence[BuiltImage], tags: Sequence[Reference]
    ) -> dict[str, str]:
        """Write every output and return what BuildKit would answer.

        Args:
            outputs: Where to; none for the image store alone.
            built: One image for each platform.
            tags: Names for outputs that have none of their own.

        Raises:
            KedgeError: An output cannot be written; those before it are.
        """
        response: dict[str, str] = {}
        kinds = {output.kind for output in outputs}
        if any(image.attestations for image in built) and kinds <= _WITHOUT_INDEX:
            text = "attestations need an output that holds an index: add -o type=oci or --push"
            self.on_event(Warned(text=text))
        wanted = outputs or (BuildOutput(kind=OutputKind.IMAGE),)
        order = sorted(range(len(wanted)), key=lambda i: wanted[i].kind != OutputKind.IMAGE)
        for index in order:
            self.check()
            response |= self._export(index, wanted[index], built, tags)
        return response

    def _export(
        self,
        index: int,
        output: BuildOutput,
        built: Sequence[BuiltImage],
        tags: Sequence[Reference],
    ) -> dict[str, str]:
        names = [parse_reference(each).with_default_tag() for each in output.names] or list(tags)
        if output.kind == OutputKind.IMAGE:
            response = self._store(output, built, names)
            return response | (self._push(output, built, names) if output.push else {})
        if output.kind == OutputKind.REGISTRY:
            return self._push(output, built, names)
        text = f"exporting to {output.kind}"
        self.on_event(ExportStarted(text=text))
        match output.kind:
            case OutputKind.LOCAL | OutputKind.TAR:
                response = {}
                self._send_files(index, output, built)
            case OutputKind.OCI | OutputKind.DOCKER:
                response = self._send_image(index, output, built, names)
            case OutputKind.CACHE_ONLY:
                response = {}
            case _:
                assert_never(output.kind)
        self.on_event(ExportDone(text=text, response=response))
        return response

    def _store(
        self, output: BuildOutput, built: Sequence[BuiltImage], names: Sequence[Reference]
    ) -> dict[str, str]:
        if len(built) != 1:
            raise NotSupportedError(
                "the image store holds one platform of a build: push it, or use --output type=oci"
            )
        image = store_image(self.images, built[0], names)
        self.on_event(ImageBuilt(image_id=image.id))
        for name in names:
            self.on_event(ImageTagged(name=name.familiar()))
        response = {"containerimage.config.digest": image.id, "containerimage.digest": image.id}
        if names:
            response["image.name"] = ",".join(name.canonical() for name in names)
        return response

    def _push(
        self, output: BuildOutput, built: Sequence[BuiltImage], names: Sequence[Reference]
    ) -> dict[str, str]:
        if not names:
            raise InvalidParameterError("nothing to push to: name the image with --tag")
        if self.registries is None:
            raise NotSupportedError("this build cannot push: it has no registries")
        bundle = self._bundle(output, built, names)
        for name in names:
            text = f"pushing {name.familiar()}"
            self.on_event(ExportStarted(text=text))
            push_bundle(
                bundle,
                name,
                self.registries,
                self.images.content,
                self.check,
                by_digest=output.push_by_digest,
            )
            self.on_event(ExportDone(text=text, response=describe(bundle, [name])))
        return describe(bundle, names)

    def _bundle(
        self, output: BuildOutput, built: Sequence[BuiltImage], names: Sequence[Reference]
    ) -> Bundle:
        content = self.images.content
        layers = [
            (image, recompressed(image, output, content, self.lease, self.check)) for image in built
        ]
        return make_bundle(layers, output, names)

    def _send_files(self, index: int, output: BuildOutput, built: Sequence[BuiltImage]) -> None:
        members = tree_members(built, output, self.layering, self.epoch_ns)
        if output.kind == OutputKind.LOCAL:
            self._receiver(output).files(index, members)
            return
        with self._receiver(output).stream(index) as out:
            write_tree(members, out)

    def _send_image(
        self,
        index: int,
        output: BuildOutput,
        built: Sequence[BuiltImage],
        names: Sequence[Reference],
    ) -> dict[str, str]:
        if output.kind == OutputKind.DOCKER and len(built) != 1:
            raise NotSupportedError("a docker archive holds one platform: use type=oci for several")
        bundle = self._bundle(output, built, names)
        content = self.images.content
        if output.as_folder and self.stores is not None:
            self.stores.write_image(bundle_pieces(bundle, content))
        elif output.as_folder:
            members = layout_members(bundle, output, names, content)
            self._receiver(output).files(index, members)
        else:
            with self._receiver(output).stream(index) as out:
                write_archive(bundle, output, names, content, out)
        return describe(bundle, names)

    def _receiver(self, output: BuildOutput) -> Sinks:
        if self.sinks is None:
            raise NotSupportedError(
                f"output type={output.kind} needs a client that takes files: use kedge build"
            )
        return self.sinks


def store_image(images: ImageStore, built: BuiltImage, names: Sequence[Reference]) -> Image:
    """Put an image into the store, or name the one it still is."""
    unchanged = images.find(built.unchanged_id) if built.unchanged_id else None
    if unchanged is not None:
        for name in names:
            images.tag(unchanged.id, name)
        return unchanged
    layers = [NewLayer(layer.diff_id, layer.blob) for layer in built.layers]
    return images.create_image(built.config, layers, names=names)
