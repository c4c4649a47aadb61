"""Functions and routes from a template."""

from pathlib import Path

import pytest

from local.errors import LocalError
from local.template import load_template


def test_functions_and_routes_are_read_as_sam_reads_them(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREETING", "from the shell")
    template = load_template(project / "template.yaml")
    toy = template.functions["ToyFunction"]
    assert toy.handler == "toy.handler.handler"
    assert toy.timeout_seconds == 3
    assert toy.import_roots == (project / "functions", project / "layers" / "shared")
    assert toy.code == (project / "functions" / "toy", project / "layers" / "shared")
    assert toy.environment["GREETING"] == "from the shell"
    assert toy.environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert {(route.path, route.is_any) for route in template.routes} == {
        ("/toy", True),
        ("$default", True),
    }


def test_only_declared_variables_are_set(project: Path) -> None:
    template = load_template(project / "template.yaml")
    toy = template.with_environment({"GREETING": "set", "OTHER": "not"}).functions["ToyFunction"]
    assert toy.environment["GREETING"] == "set"
    assert "OTHER" not in toy.environment


def test_code_that_is_not_a_package_of_the_handlers_name_is_its_own_root(project: Path) -> None:
    path = project / "template.yaml"
    path.write_text(path.read_text().replace("toy.handler.handler", "handler.handler"))
    toy = load_template(path).functions["ToyFunction"]
    assert toy.import_roots[0] == project / "functions" / "toy"


@pytest.mark.parametrize(
    ("configuration", "origins"),
    [
        ("{AllowOrigins: ['https://a.example.org']}", ["https://a.example.org"]),
        ("!If [Cors, {AllowOrigins: !Split [',', !Ref CorsOrigins]}, !Ref AWS::NoValue]", None),
    ],
)
def test_cors_is_configured_by_the_api_and_its_condition_by_the_shell(
    project: Path, monkeypatch: pytest.MonkeyPatch, configuration: str, origins: list[str] | None
) -> None:
    path = project / "template.yaml"
    api = f"{{Type: AWS::Serverless::HttpApi, Properties: {{CorsConfiguration: {configuration}}}}}"
    path.write_text(
        path.read_text().replace("{Type: AWS::Serverless::HttpApi}", api, 1)
        + "Parameters: {CorsOrigins: {Type: String, Default: ''}}\n"
        + "Conditions: {Cors: !Not [!Equals [!Ref CorsOrigins, '']]}\n"
    )
    cors = load_template(path).cors
    assert (cors and cors.origins) == origins
    monkeypatch.setenv("CORS_ORIGINS", "https://b.example.org,https://c.example.org")
    cors = load_template(path).cors
    assert cors
    assert cors.origins == (origins or ["https://b.example.org", "https://c.example.org"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "template.yaml does not parse: "),
        ("", "template.yaml has no functions"),
        ("Resources: 3", "template.yaml does not parse: "),
        ("Resources:\n  T: {Type: 'AWS::SNS::Topic'}", "template.yaml has no functions"),
    ],
)
def test_a_template_that_does_not_parse_is_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "template.yaml").write_text(text)
    with pytest.raises(LocalError) as caught:
        load_template(tmp_path / "template.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_template_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is no template"):
        load_template(tmp_path / "template.yaml")
