"""Which images a list shows, and what ``docker history`` tells about one.

Follows moby `daemon/images/images.go` and `image_history.go`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from kedge.errdefs import InvalidParameterError
from kedge.images.image import MISSING, HistoryItem, Image, parse_created
from kedge.lib.clock import Clock
from kedge.lib.durations import parse_duration
from kedge.lib.filters import Filters
from kedge.oci.references import Reference, familiar_match

FILTER_KEYS: Final = ("dangling", "label", "label!", "before", "since", "reference", "until")


def parse_moment(text: str, clock: Clock) -> int:
    """Return nanoseconds since the epoch of an RFC 3339 time, Unix seconds or a duration ago.

    Raises:
        InvalidParameterError: It is none of them.
    """
    try:
        return int(float(text) * 1_000_000_000)
    except (ValueError, OverflowError):
        pass
    if "-" in text and (moment := parse_created(text)):
        return moment
    try:
        return clock.time_ns() - parse_duration(text)
    except InvalidParameterError as error:
        raise InvalidParameterError(
            f'invalid time "{text}": use 2006-01-02T15:04:05 or 24h'
        ) from error


def select_images(
    images: Iterable[Image],
    filters: Filters,
    *,
    parents: frozenset[str],
    resolve: Callable[[str], Image],
    clock: Clock,
    all_images: bool,
) -> list[Image]:
    """Return the images that ``filters`` lets through, in the order they come in.

    Args:
        images: All images.
        filters: The keys of `FILTER_KEYS`.
        parents: Ids that are some image's parent.
        resolve: Finds the image that ``before`` and ``since`` name.
        clock: For ``until`` filters that say how long ago.
        all_images: Also show untagged parents, as ``docker images -a``.

    Raises:
        InvalidParameterError: An unknown key or a value that makes no sense.
    """
    filters.check_keys(FILTER_KEYS)
    dangling = filters.boolean("dangling", default=False) if "dangling" in filters else None
    oldest = max((resolve(name).created_ns for name in filters.get("since")), default=None)
    newest = min(
        [
            *(resolve(name).created_ns for name in filters.get("before")),
            *(parse_moment(text, clock) for text in filters.get("until")),
        ],
        default=None,
    )
    chosen: list[Image] = []
    for image in images:
        if (oldest is not None and image.created_ns <= oldest) or (
            newest is not None and image.created_ns >= newest
        ):
            continue
        labels = image.config.config.labels
        if not filters.matches_labels(labels) or filters.excludes_labels(labels):
            continue
        shown = _with_matching_names(image, filters.get("reference"))
        hidden = image.id in parents and not all_images
        if shown is not None and _is_shown(image, dangling=dangling, hidden=hidden):
            chosen.append(shown)
    return chosen


def image_history(image: Image, find: Callable[[str], Image | None]) -> list[HistoryItem]:
    """Return how the image came to be, newest step first.

    Steps that are images here (parents of a build) carry their id and tags.
    """
    sizes = [layer.size_bytes for layer in image.layers]
    items: list[HistoryItem] = []
    position = 0
    for entry in image.config.history:
        size = 0
        if not entry.empty_layer and position < len(sizes):
            size = sizes[position]
            position += 1
        items.append(
            HistoryItem(
                MISSING, parse_created(entry.created), entry.created_by, (), size, entry.comment
            )
        )
    items.reverse()
    step: Image | None = image
    for index, item in enumerate(items):
        if step is None:
            break
        items[index] = item._replace(id=step.id, tags=tuple(step.repo_tags))
        step = find(step.parent) if step.parent else None
    return items


def _is_shown(image: Image, *, dangling: bool | None, hidden: bool) -> bool:
    if not image.tags and not image.digests:
        return not hidden and dangling is not False
    return not (dangling and image.tags)


def _with_matching_names(image: Image, patterns: Sequence[str]) -> Image | None:
    """Return the image with those of its names that a pattern matches, or None if none does."""
    if not patterns:
        return image

    def matches(name: Reference) -> bool:
        return any(familiar_match(pattern, name) for pattern in patterns)

    tags = tuple(name for name in image.tags if matches(name))
    digests = tuple(name for name in image.digests if matches(name))
    return replace(image, tags=tags, digests=digests) if tags or digests else None
