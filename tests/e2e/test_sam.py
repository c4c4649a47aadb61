"""`sam build`, then `sam local invoke` and `start-lambda` on the result; needs Docker."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from local.generate import sample_events
from tests.e2e import targets
from tests.resources import FUNCTION_NAMES, ROUTED, function_of
from tests.sample_resource import SampleResource

BUILD = targets.ROOT / ".aws-sam" / "build"
LAYERS = ("DependenciesLayer", "SharedLayer")
FUNCTIONS = [function_of(name) for name in FUNCTION_NAMES]
MAX_FUNCTION_BYTES = 60_000_000  # of the 250 MB that Lambda takes
COLD_START = """
import json, sys
sys.path[:0] = ["/var/task", "/opt/python"]
import importlib
handler = importlib.import_module(sys.argv[1] + ".handler").handler
class Context:
    def get_remaining_time_in_millis(self):
        return 3000
print(handler(json.loads(sys.argv[2]), Context())["statusCode"])
"""

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def functions(sam_local_api: httpx.Client) -> Iterator[Any]:
    """A boto3 client of `sam local start-lambda`."""
    port = targets.free_port()
    with targets.sam_start_lambda(port):
        yield boto3.client(
            "lambda",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="eu-west-1",
            aws_access_key_id="none",
            aws_secret_access_key="none",
            config=Config(read_timeout=60, retries={"max_attempts": 0}),
        )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_with_its_layers_is_small(sam_local_api: httpx.Client, name: str) -> None:
    sizes = {part: _size_bytes(BUILD / part) for part in (name, *LAYERS)}
    assert sum(sizes.values()) < MAX_FUNCTION_BYTES, sizes


def test_the_layer_has_nothing_that_the_runtime_provides_or_no_code_runs(
    sam_local_api: httpx.Client,
) -> None:
    packages = {path.name for path in (BUILD / "DependenciesLayer" / "python").iterdir()}
    assert {"fastapi", "sqlalchemy", "psycopg", "redis"} <= packages
    assert not packages & {"boto3", "botocore", "pip", "pytest", "bin", "alembic"}
    assert not list((BUILD / "DependenciesLayer").rglob("*.pyi"))


@pytest.mark.parametrize("function", ROUTED)
def test_a_cold_start_and_its_first_request_compile_nothing(
    sam_local_api: httpx.Client, tmp_path: Path, function: str
) -> None:
    event = sample_events.sample_events()[
        {"meta": "meta-get_health"}.get(function, f"{function}-list_{function}")
    ]
    command = [
        *("docker", "run", "--rm", "--read-only", "--network", "none"),
        *("--volume", f"{BUILD / function_of(function)}:/var/task:ro"),
        *("--volume", f"{_merged_layers(tmp_path)}:/opt:ro"),
        *("--env", "DATABASE_URL=postgresql://nobody@127.0.0.1:1/none"),
        *("--env", "REDIS_URL=redis://127.0.0.1:1/0"),
        *("--env", "AUTH=open"),
        *("--entrypoint", "/var/lang/bin/python3.13", targets.LAMBDA_IMAGE),
        *("-v", "-c", COLD_START, function, json.dumps(event)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "503"
    loaded = re.findall(r"# code object from '?((?:/opt|/var/task)/[^\s']+)", done.stderr)
    assert len(loaded) > 300
    assert [path for path in loaded if not path.endswith(".pyc")] == []


def test_invoke_responds_to_an_event(sam_local_api: httpx.Client, sample: SampleResource) -> None:
    event = f"local/events/{sample.name}-{sample.operation('get')}.json"
    printed = targets.sam("local", "invoke", function_of(sample.name), "--event", event)
    response = json.loads(printed.strip().splitlines()[-1])
    assert response["statusCode"] == 200
    assert "data" in json.loads(response["body"])


@pytest.mark.parametrize("name", sorted(sample_events.sample_events()))
def test_start_lambda_responds_to_every_sample_event(functions: Any, name: str) -> None:
    function = function_of(name.partition("-")[0])
    response = functions.invoke(
        FunctionName=function, Payload=json.dumps(sample_events.sample_events()[name])
    )
    assert "FunctionError" not in response
    result = json.loads(response["Payload"].read())
    if function == "MigrationsFunction":
        assert "revision" in result
    else:
        assert result["statusCode"] < 500


def _size_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _merged_layers(directory: Path) -> Path:
    """One folder of links to both layers' files, as Lambda lays them over each other in /opt."""
    merged = directory / "opt"
    for layer in LAYERS:
        for path in (BUILD / layer).rglob("*"):
            target = merged / path.relative_to(BUILD / layer)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, target)
    return merged
