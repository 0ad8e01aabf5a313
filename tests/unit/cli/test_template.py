import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.cli.template import Method, Template
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import JsonObject

DOCUMENT: JsonObject = {
    "Name": "/web",
    "State": {"Running": True, "Pid": 42, "Health": None},
    "Args": ["a", "b"],
    "Labels": {"z": "1", "a": "2"},
    "Label": {"z": "1"},
    "Ports": {"80/tcp": [{"HostPort": "8080"}]},
    "Empty": [],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.Name}}", "/web"),
        ("{{ .State.Running }} {{.State.Pid}}", "true 42"),
        ("{{.State.Health}}", "<no value>"),
        ("{{.Args}} {{.Labels}}", "[a b] map[a:2 z:1]"),
        ("{{json .Args}}", '["a","b"]'),
        ("{{range .Args}}<{{.}}>{{end}}", "<a><b>"),
        ("{{range $i, $a := .Args}}{{$i}}={{$a}} {{end}}", "0=a 1=b "),
        ("{{range $k, $v := .Labels}}{{$k}}{{$v}}{{end}}", "a2z1"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if not .State.Running}}up{{else}}down{{end}}", "down"),
        ("{{with .State}}{{.Pid}}{{end}}", "42"),
        ('{{index .Labels "z"}}', "1"),
        ("{{index .Args 1}}", "b"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{.Label "z"}}|{{.Label "q"}}', "1|"),
        ("{{len .Args}} {{upper .Name}} {{lower .Name}}", "2 /WEB /web"),
        ('{{join .Args ","}} {{.Name | printf "%q"}}', 'a,b "/web"'),
        ('{{printf "%s-%d" .Name .State.Pid}}', "/web-42"),
        ('{{if eq .State.Pid 41 42}}y{{end}}{{if ne .Name "x"}}z{{end}}', "yz"),
        ("{{$x := .Name}}{{$x}}", "/web"),
        ("a\n  {{- .Name -}}  \n b", "a/webb"),
        (r"{{.Name}}\t{{.Name}}\n", "/web\t/web\n"),
        ("{{/* nothing */}}x", "x"),
        ("{{.name}}", "/web"),
        ('{{pad "x" 1 2}}|{{slice .Args 1}}|{{slice .Name 1 3}}', " x  |[b]|we"),
        ('{{title "ab cD"}} {{urlquery "a b/c"}}', "Ab CD a+b%2Fc"),
        ("{{if .Empty}}a{{else if .Args}}b{{else}}c{{end}}d", "bd"),
        ("{{if .Empty}}a{{else if .Empty}}b{{else}}c{{end}}d", "cd"),
        ("{{if .Args}}a{{else if .Args}}b{{else if .Name}}c{{end}}d", "ad"),
        ("{{if .Empty}}{{else if .Name}}{{if .Args}}x{{end}}{{end}}y", "xy"),
    ],
)
def test_rendering(template: str, expected: str) -> None:
    assert Template(template).render(DOCUMENT) == expected


@pytest.mark.parametrize(
    "template",
    ["{{if .Name}}", "{{end}}", "{{else}}", "{{.Nope}}", "{{nope .Name}}", "{{.Name.More}}",
     "{{(.Name}}", "{{index .Args 9}}", "{{}}", "{{%}}",
     "{{.Name", "a {{ b"],
)  # fmt: skip
def test_mistakes_are_named(template: str) -> None:
    with pytest.raises(InvalidParameterError, match="template: "):
        Template(template).render(DOCUMENT)


def test_json_of_a_row_has_no_methods() -> None:
    row: JsonObject = {"Names": "web", "Label": Method({"a": "b"})}
    assert Template('{{json .}} {{.Label "a"}}').render(row) == '{"Names":"web"} b'


@given(st.text().filter(lambda text: "{{" not in text and "\\" not in text))
def test_text_without_actions_stays(text: str) -> None:
    assert Template(text).render({}) == text
