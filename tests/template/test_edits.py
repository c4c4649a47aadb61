"""What docs/settings.md says of edits of template.yaml, made in a copy of it."""

from pathlib import Path
from typing import Any

import pytest

from local.services import Services
from local.template import load_template
from tests.e2e import targets
from tests.resources import RESOURCES, function_of
from tests.template.edits import EDITS, PUBLIC, edited
from tests.template.stacks import TEMPLATE, Stack, template, token_routes
from tests.template.test_infrastructure import lint


def line(start: str) -> str:
    """The line that the page edits and that begins so."""
    [found] = (one for one in EDITS if one.startswith(start))
    return found


def variables(stack: Stack) -> dict[str, Any]:
    made: dict[str, Any] = stack.properties("MetaFunction")["Environment"]["Variables"]
    return made


def test_all_edits_together_lint_clean(tmp_path: Path) -> None:
    done = lint(edited(tmp_path, *EDITS, public_reads=True))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["REQUIRE_IF_MATCH", "TLS_REQUIRED"])
def test_an_edited_setting_reaches_the_functions(name: str, tmp_path: Path) -> None:
    path = edited(tmp_path, line(name))
    before, after = variables(Stack())[name], variables(Stack(path))[name]
    assert {before, after} == {"true", "false"}
    assert load_template(path).functions["MetaFunction"].environment[name] == after


def test_the_claim_with_the_roles_is_an_edit(tmp_path: Path) -> None:
    issuer = {"TokenIssuer": "https://issuer.example.org", "TokenAudience": ["api"]}
    assert variables(Stack(**issuer))["ROLES_CLAIM"] == "roles"
    path = edited(tmp_path, line("ROLES_CLAIM"))
    assert variables(Stack(path, **issuer))["ROLES_CLAIM"] == "groups"
    assert variables(Stack(path))["ROLES_CLAIM"] == "cognito:groups"


def test_snapshots_are_an_edit_that_excludes_the_migrations(tmp_path: Path) -> None:
    for stack, expected in (
        (Stack(), "None"),
        (Stack(edited(tmp_path, line("SnapStart"))), "PublishedVersions"),
    ):
        assert stack.properties("MetaFunction")["SnapStart"]["ApplyOn"] == expected
        assert stack.properties("MigrationsFunction")["SnapStart"]["ApplyOn"] == "None"


def test_migrations_by_hand_are_an_edit(tmp_path: Path) -> None:
    """Nothing is there then to be updated: turning them off, and its way back, invokes nothing."""
    assert Stack().nested["Schema"].has("Schema")
    assert not Stack(edited(tmp_path, line("Migrate"))).nested["Schema"].has("Schema")


def test_throttles_are_an_edit(tmp_path: Path) -> None:
    stage = Stack(edited(tmp_path, line("DefaultRouteSettings"))).properties(
        "ApiApiGatewayDefaultStage"
    )
    before = Stack().properties("ApiApiGatewayDefaultStage")
    assert stage["DefaultRouteSettings"] != before["DefaultRouteSettings"]
    assert stage["RouteSettings"] == before["RouteSettings"]


def test_public_reads_open_get_and_head_of_one_resource_and_nothing_else(tmp_path: Path) -> None:
    path = edited(tmp_path, public_reads=True)
    opened = {
        (f"/{name}{rest}", method): False
        for name in PUBLIC
        for rest in ("", "/{proxy+}")
        for method in ("GET", "HEAD")
    }
    assert token_routes(template(path)) == token_routes(template(TEMPLATE)) | opened
    settings = {
        name: function.environment.get("PUBLIC_READS")
        for name, function in load_template(path).functions.items()
    }
    assert {name for name, value in settings.items() if value} == set(map(function_of, PUBLIC))
    assert set(settings.values()) == {None, *("true" for _ in PUBLIC)}


def test_public_reads_need_no_token_and_writes_do(services: Services, tmp_path: Path) -> None:
    template_of_copy = str(edited(tmp_path, public_reads=True))
    with targets.docker_free(services, "--template", template_of_copy, sign_in=False) as api:
        for name in PUBLIC:
            path, item = f"/{name}", f"/{name}/1"
            assert (api.get(path).status_code, api.head(path).status_code) == (200, 200)
            assert api.get(item).status_code in (200, 404)
            assert api.post(path, json={}).status_code == api.delete(item).status_code == 401
        for name in set(RESOURCES) - PUBLIC:
            assert api.get(f"/{name}").status_code == 401
