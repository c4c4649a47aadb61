"""The live API against its own OpenAPI document: Schemathesis with every check and phase."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e import targets

FOLDER = Path(__file__).parent
EXAMPLES = 25
SEED = 1  # a new seed is worth a try by hand; the tests of a change should not depend on luck


@pytest.mark.slow
def test_every_operation_keeps_its_contract(closed_api: httpx.Client) -> None:
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--no-color"),
        *("--config-file", str(FOLDER / "schemathesis.toml")),
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
        cwd=FOLDER.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    paths = closed_api.get("/openapi.json").json()["paths"]
    del paths["/openapi.json"]  # Schemathesis leaves out where it has the document from
    assert f"Tested: {sum(map(len, paths.values()))}\n" in done.stdout
