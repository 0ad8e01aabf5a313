"""The grammar of ``--output``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.api.buildoutputs import BuildOutput, OutputKind, make_output, parse_output
from kedge.errdefs import InvalidParameterError


def test_short_forms() -> None:
    assert parse_output("-") == BuildOutput(kind=OutputKind.TAR, destination="-")
    assert parse_output("out/dir") == BuildOutput(kind=OutputKind.LOCAL, destination="out/dir")


def test_every_attribute_has_its_field() -> None:
    output = parse_output(
        'type=image,"name=a:1,b:2",push=true,compression=zstd,compression-level=22,'
        "force-compression=true,oci-mediatypes=false,annotation.k=v,annotation-index.i=w,"
        "annotation-manifest[linux/amd64].m=x"
    )
    assert output.names == ("a:1", "b:2")
    assert output.push
    assert (output.compression, output.level, output.force_compression) == ("zstd", 22, True)
    assert output.oci_types is False
    assert output.annotations == {"k": "v", "m": "x"}
    assert output.index_annotations == {"i": "w"}
    assert parse_output("type=registry,name=x").push
    assert make_output("moby", {}).kind is OutputKind.IMAGE
    assert parse_output("type=oci,tar=false,dest=d").as_folder
    assert parse_output("type=local,dest=d,platform-split=false").platform_split is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dest=x", "type is required"),
        ("type=tra,dest=x", "does not exist (did you mean tar?): use one of image, registry"),
        ("type=oci,color=red", "has no option color"),
        ("type=oci,push=perhaps", "push=perhaps: use true or false"),
        ("type=oci,compression=estargz", "compression estargz is not supported"),
        ("type=oci,compression=gzip,compression-level=10", "use a number from 0 to 9"),
        ("type=oci,compression", "compression is no KEY=VALUE"),
        ("", "want type=TYPE,dest=PATH"),
        ("a,b", "want type=TYPE,dest=PATH"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_output(text)
    assert message in str(caught.value)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        output = parse_output(text)
    except InvalidParameterError:
        return
    assert output.kind in OutputKind
