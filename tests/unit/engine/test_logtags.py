import pytest

from kedge.api.types.config import ContainerConfig, HostConfig
from kedge.engine.logtags import (
    check_tag,
    extra_attributes,
    journal_fields,
    json_attributes,
    render_tag,
)
from kedge.engine.record import ContainerRecord
from kedge.errdefs import InvalidParameterError

RECORD = ContainerRecord(
    id="0123456789abcdef" * 4,
    name="web",
    created_ns=1,
    image_id="sha256:" + "fe" * 32,
    path="sh",
    args=["-c", "true"],
    config=ContainerConfig(
        image="busybox:1", env=["A=1", "B=x=y"], labels={"team": "one", "web.site": "<two>"}
    ),
    host_config=HostConfig(),
)


def tag(text: str) -> str:
    return render_tag(RECORD, {"tag": text} if text else {}, hostname="host")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", "0123456789ab"),
        ("{{.Name}}/{{ .ID }}", "web/0123456789ab"),
        ("{{.ImageName}} {{.ImageID}} {{.Hostname}}", "busybox:1 fefefefefefe host"),
        ("{{.Command}}", "sh -c true"),
        ("plain", "plain"),
    ],
)
def test_tags(template: str, expected: str) -> None:
    assert tag(template) == expected


@pytest.mark.parametrize("template", ["{{.Nope}}", "{{.ID", "{{index . 1}}", "}}"])
def test_bad_tags(template: str) -> None:
    with pytest.raises(InvalidParameterError, match="tag"):
        check_tag({"tag": template})


def test_attributes() -> None:
    found = extra_attributes(RECORD, {"labels-regex": "^web", "env": "B,C"})
    assert found == {"web.site": "<two>", "B": "x=y"}
    assert json_attributes(found) == '{"B":"x=y","web.site":"\\u003ctwo\\u003e"}'
    assert json_attributes({}) == ""


def test_journal_fields_are_capitals() -> None:
    fields = dict(journal_fields(RECORD, {"labels": "team,web.site"}, tag="t"))
    assert fields["WEB_SITE"] == "<two>"
    assert fields["TEAM"] == "one"
    assert fields["CONTAINER_NAME"] == "web"
    assert fields["SYSLOG_IDENTIFIER"] == fields["CONTAINER_TAG"] == "t"
