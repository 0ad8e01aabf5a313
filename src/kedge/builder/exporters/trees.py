"""``local`` and ``tar`` outputs: the files of a result, read from its layers without mounting."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from kedge.api.buildoutputs import BuildOutput
from kedge.archive.entry import Entry, Kind
from kedge.archive.members import Member, read_members
from kedge.archive.writer import TarWriter, Writable
from kedge.builder.exporters.documents import statement, subjects
from kedge.builder.exporters.result import BuiltImage
from kedge.images.layering import Layering


def write_tree(members: Iterator[Member], out: Writable) -> None:
    """Write a tree as a tar archive."""
    writer = TarWriter(out)
    for member in members:
        writer.add(member.entry, member.content)
    writer.finish()


def tree_members(
    images: Sequence[BuiltImage],
    output: BuildOutput,
    layering: Layering,
    epoch_ns: int | None,
) -> Iterator[Member]:
    """Yield the files of every image; of several, each below a folder named by its platform.

    Args:
        images: What was built.
        output: Says whether one image has such a folder, too.
        layering: Reads the layers.
        epoch_ns: No file is later than this.
    """
    split = len(images) > 1 if output.platform_split is None else output.platform_split
    for image in images:
        folder = str(image.platform).replace("/", "_") if split else ""
        if folder:
            entry = Entry(folder, Kind.DIRECTORY, 0o755, mtime_ns=epoch_ns or 0)
            yield Member(entry, iter(()), folder, is_opaque=False)
        prefix = f"{folder}/" if folder else ""
        for member in _image_members(image, layering, prefix):
            yield _clamped(member, epoch_ns)
        yield from _attestations(image, prefix, epoch_ns)


def _image_members(image: BuiltImage, layering: Layering, prefix: str) -> Iterator[Member]:
    with ExitStack() as stack:
        tree = layering.open_tree(image.chain_id)
        if tree is None:
            return
        stack.enter_context(tree)
        for member in read_members(tree, tree.require("/"), ""):
            entry = member.entry
            if prefix:
                link = entry.link_target
                if entry.kind is Kind.HARD_LINK:
                    link = prefix + link
                entry = entry._replace(name=prefix + entry.name, link_target=link)
            yield member._replace(entry=entry)


def _clamped(member: Member, epoch_ns: int | None) -> Member:
    entry = member.entry
    if epoch_ns is None or entry.mtime_ns <= epoch_ns:
        return member
    return member._replace(entry=entry._replace(mtime_ns=epoch_ns))


def _attestations(image: BuiltImage, prefix: str, epoch_ns: int | None) -> Iterator[Member]:
    for attestation in image.attestations:
        data = statement(attestation, subjects(image, image.image_id, ()))
        name = prefix + attestation.file_name
        entry = Entry(name, Kind.REGULAR, 0o644, size=len(data), mtime_ns=epoch_ns or 0)
        yield Member(entry, iter((data,)), name, is_opaque=False)
