import pytest

from kedge.errdefs import InvalidParameterError
from kedge.images.image import HistoryItem, Image, Layer
from kedge.images.listing import image_history, parse_moment, select_images
from kedge.lib.filters import Filters
from kedge.oci.image_spec import ContainerConfig, History, ImageConfig, RootFS
from kedge.oci.references import parse_reference

SECOND = 1_000_000_000


class StoppedClock:
    def time_ns(self) -> int:
        return 1000 * SECOND

    def monotonic(self) -> float:
        return 0.0


def image(name: str, created_s: int, *names: str, labels: dict[str, str] | None = None) -> Image:
    references = [parse_reference(text) for text in names]
    return Image(
        id=name,
        config=ImageConfig(
            rootfs=RootFS(),
            config=ContainerConfig(labels=labels or {}),
        ),
        layers=(),
        tags=tuple(r for r in references if not r.digest),
        digests=tuple(r for r in references if r.digest),
        created_ns=created_s * SECOND,
    )


DIGEST = "@sha256:" + "ab" * 32
IMAGES = [
    image("new", 900, "web:2", "web:1", labels={"a": "1", "b": ""}),
    image("digested", 800, f"web{DIGEST}"),
    image("base", 700, "example.com/base:3", f"example.com/base{DIGEST}", labels={"a": "2"}),
    image("step", 600),
    image("left", 500),
]
PARENTS = frozenset({"step", "base"})


def resolve(name: str) -> Image:
    return next(image for image in IMAGES if name in (image.id, *image.repo_tags))


def chosen(*, all_images: bool = False, **filters: str | tuple[str, ...]) -> list[str]:
    values = {key: (each,) if isinstance(each, str) else each for key, each in filters.items()}
    found = select_images(
        IMAGES,
        Filters({key.replace("_not", "!"): each for key, each in values.items()}),
        parents=PARENTS,
        resolve=resolve,
        clock=StoppedClock(),
        all_images=all_images,
    )
    return [image.id for image in found]


def test_untagged_steps_are_hidden() -> None:
    assert chosen() == ["new", "digested", "base", "left"]
    assert chosen(all_images=True) == ["new", "digested", "base", "step", "left"]


def test_dangling() -> None:
    assert chosen(dangling="true") == ["digested", "left"]
    assert chosen(dangling="false") == ["new", "digested", "base"]


def test_labels() -> None:
    assert chosen(label="a") == ["new", "base"]
    assert chosen(label="a=2") == ["base"]
    assert chosen(label_not="a=2") == ["new", "digested", "left"]


def test_times() -> None:
    assert chosen(before="example.com/base:3") == ["left"]
    assert chosen(since="base") == ["new", "digested"]
    assert chosen(until="150s") == ["digested", "base", "left"]
    assert chosen(until="700") == ["left"]


def test_several_values_of_one_key() -> None:
    """Times and labels narrow, names add up: moby's rules."""
    assert chosen(before=("new", "base")) == ["left"]
    assert chosen(before=("base", "new")) == ["left"]
    assert chosen(since=("step", "base")) == ["new", "digested"]
    assert chosen(since="left", before="new") == ["digested", "base"]
    assert chosen(until=("150s", "700")) == ["left"]
    assert chosen(until="150s", before="base") == ["left"]
    assert chosen(label=("a", "b")) == ["new"]
    assert chosen(label=("a=1", "a=2")) == []
    assert chosen(label_not=("a=1", "a=2")) == ["digested", "left"]
    assert chosen(reference=("web:1", "*/base:*")) == ["new", "base"]
    assert chosen(reference=("web", "nothing"), dangling="true") == ["digested"]
    assert chosen(dangling=("true", "1")) == ["digested", "left"]
    with pytest.raises(InvalidParameterError, match="invalid filter 'dangling="):
        chosen(dangling=("true", "false"))


def test_references_narrow_the_names_too() -> None:
    found = select_images(
        IMAGES,
        Filters({"reference": ("web:1",)}),
        parents=PARENTS,
        resolve=resolve,
        clock=StoppedClock(),
        all_images=False,
    )
    assert [image.repo_tags for image in found] == [["web:1"]]
    assert chosen(reference="web") == ["new", "digested"]
    assert chosen(reference="*/base:*") == ["base"]
    assert chosen(reference="nothing") == []


def test_unknown_filters_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="invalid filter 'colour'"):
        chosen(colour="red")
    with pytest.raises(InvalidParameterError, match="syntax error in pattern"):
        chosen(reference="[")


def test_moments() -> None:
    clock = StoppedClock()
    assert parse_moment("12.5", clock) == 12_500_000_000
    assert parse_moment("1970-01-01T00:01:00Z", clock) == 60 * SECOND
    assert parse_moment("10m", clock) == 400 * SECOND
    with pytest.raises(InvalidParameterError, match='invalid time "soon"'):
        parse_moment("soon", clock)


def test_history_counts_layers_and_names_parents() -> None:
    parent = Image(
        id="p", config=ImageConfig(rootfs=RootFS()), layers=(), tags=(parse_reference("p:1"),)
    )
    child = Image(
        id="c",
        parent="p",
        config=ImageConfig(
            rootfs=RootFS(),
            history=[
                History(created="1970-01-01T00:00:01Z", created_by="ADD", comment="base"),
                History(created_by="ENV", empty_layer=True),
                History(created_by="RUN"),
                History(created_by="COPY"),
            ],
        ),
        layers=(
            Layer(diff_id="1", chain_id="1", size_bytes=10),
            Layer(diff_id="2", chain_id="2", size_bytes=20),
        ),
    )
    assert image_history(child, {"p": parent}.get) == [
        HistoryItem("c", 0, "COPY", (), 0, ""),
        HistoryItem("p", 0, "RUN", ("p:1",), 20, ""),
        HistoryItem("<missing>", 0, "ENV", (), 0, ""),
        HistoryItem("<missing>", SECOND, "ADD", (), 10, "base"),
    ]
