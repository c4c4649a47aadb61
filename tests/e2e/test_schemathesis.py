"""The live API against its own OpenAPI document: Schemathesis with every check and phase."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from shared.database.models import METADATA
from tests.e2e import targets
from tests.resources import ITEM_PATHS, RESOURCE_TABLES, ROOT

REFERRING = """
[[operations]]
include-path = ["/{name}", "{item_path}"]
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
    for name, item_path in ITEM_PATHS.items():
        if METADATA.tables[name].foreign_keys:
            text += REFERRING.format(name=name, item_path=item_path)
        if name in referred:
            text += REFERRED.format(item_path=item_path)
    return text


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
