"""The live API against its own OpenAPI document: Schemathesis with every check and phase."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.errors import InvalidReference
from tests.e2e import targets
from tests.every_resource.document import DOCUMENT, documented
from tests.resources import ITEM_PATHS, RESOURCE_TABLES, ROOT

REFERRING = """
[[operations]]
include-path = {paths}
[operations.checks]
positive_data_acceptance.expected-statuses = [200, 201, 204, 400, 404]
"""
"""A reference to what does not exist keeps to the schema, and is rejected with 400."""
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
    referring = [path for path, methods in DOCUMENT["paths"].items() if may_dangle(methods)]
    text += REFERRING.format(paths=json.dumps(referring)) if referring else ""
    for name, item_path in ITEM_PATHS.items():
        if name in referred:
            text += REFERRED.format(item_path=item_path)
    return text


def may_dangle(methods: dict[str, Any]) -> bool:
    """Whether a body may refer to what does not exist."""
    errors = (documented(one["responses"].get("400", {})) for one in methods.values())
    return any(InvalidReference.description in one.get("description", "") for one in errors)


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
