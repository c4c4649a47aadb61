"""The live API against its own OpenAPI document: Schemathesis with every check and phase."""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from annotated_types import Ge, Gt, Le, Lt
from fastapi.routing import APIRoute
from pydantic import BaseModel

from shared.errors import InvalidReference
from tests.e2e import targets
from tests.every_resource.document import DOCUMENT, documented
from tests.resources import ITEM_PATHS, RESOURCE_TABLES, ROOT, ROUTED, routes_of

REJECTING = """
[[operations]]
include-name = "{operation}"
[operations.checks]
positive_data_acceptance.expected-statuses = {statuses}
"""
ACCEPTING = [200, 201, 204, 404, 409]
"""What keeps to the schema is accepted; if not, a row is missing, or a rule does not allow it."""
REFERRED = """
[[operations]]
include-name = "DELETE {item_path}"
phases.stateful.enabled = false
"""
"""A deletion takes items of others along, which the stateful phase takes for lost ones."""
EXAMPLES = 25
SEED = 1  # a new seed is worth a try by hand; the tests of a change should not depend on luck


def configuration() -> str:
    text = '[auth.openapi.token]\nbearer = "${TOKEN}"\n'
    referred = {key.column.table.name for one in RESOURCE_TABLES for key in one.foreign_keys}
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            more = [400] if may_dangle(operation) else []
            more += [422] if operation["operationId"] in VALIDATING else []
            name = f"{method.upper()} {path}"
            text += REJECTING.format(operation=name, statuses=ACCEPTING + more) if more else ""
    for name, item_path in ITEM_PATHS.items():
        if name in referred:
            text += REFERRED.format(item_path=item_path)
    return text


def may_dangle(operation: dict[str, Any]) -> bool:
    """Whether a body may refer to what does not exist, which is a 400."""
    error = documented(operation["responses"].get("400", {}))
    return InvalidReference.description in error.get("description", "")


def says_more_than_its_schema(route: APIRoute) -> bool:
    """Whether a body or parameters have a rule of several fields, or bounds of a decimal in text,
    whose violation is a 422."""
    fields = [*route.dependant.query_params, *route.dependant.body_params]
    models = [one.field_info.annotation for one in fields]
    return any(map(is_validated, models))


def is_validated(model: Any) -> bool:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return False
    bounds = (Ge, Gt, Le, Lt)
    return bool(model.__pydantic_decorators__.field_validators) or any(
        one.annotation is Decimal and any(isinstance(part, bounds) for part in one.metadata)
        for one in model.model_fields.values()
    )


VALIDATING = {
    route.name
    for function in ROUTED
    for route in routes_of(function)
    if isinstance(route, APIRoute) and says_more_than_its_schema(route)
}


@pytest.mark.slow
def test_every_operation_keeps_its_contract(closed_api: httpx.Client, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(configuration(), encoding="utf-8")
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--no-color"),
        *("--config-file", str(config)),
        *("run", f"{closed_api.base_url}/openapi.json", "--checks", "all"),
        *("--max-examples", str(EXAMPLES), "--workers", "1", "--continue-on-failure"),
        *("--generation-database", "none", "--seed", str(SEED)),
    ]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.e2e.schemathesis_hooks",
        "TOKEN": targets.token(closed_api, "admin"),
        "PYTHONPATH": os.pathsep.join([".", "functions", "layers/shared"]),
    }
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    paths = closed_api.get("/openapi.json").json()["paths"]
    del paths["/openapi.json"]  # Schemathesis leaves out where it has the document from
    assert f"Tested: {sum(map(len, paths.values()))}\n" in done.stdout
