"""A cold start imports no heavy module that its first response does not need.

Every millisecond here is added to every cold start. Importing a module inside the function that
needs it keeps it out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.generate.sample_events import sample_events
from local.services import Services
from tests.resources import RESOURCES
from tests.secrets_manager import Manager, new_secret

ROOT = Path(__file__).parents[2]
PYTHON_PATH = os.pathsep.join((str(ROOT / "functions"), str(ROOT / "layers" / "shared")))
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"

# The third-party packages that a page from the cache takes, and why.
ALLOWED = {
    "annotated_doc": "FastAPI",
    "annotated_types": "pydantic",
    "anyio": "Starlette",
    "async_timeout": "redis-py on Python before 3.11.3, which Lambda does not have",
    "aws_lambda_powertools": "log lines and metrics",
    "botocore": "Powertools tells it its version; only the package, nothing below it",
    "cryptography": "redis-py looks whether it is there; in the layer it is not",
    "fastapi": "routes",
    "jmespath": "Powertools' logger",
    "mangum": "events to ASGI",
    "opentelemetry": "FastAPI; only its API",
    "pydantic": "parameters and bodies",
    "pydantic_core": "pydantic",
    "redis": "pages",
    "starlette": "FastAPI",
    "typing_extensions": "pydantic",
    "typing_inspection": "pydantic",
}
# What a page that is read from PostgreSQL takes beyond that.
ALLOWED_TO_READ = {
    "greenlet": "SQLAlchemy",
    "psycopg": "PostgreSQL",
    "psycopg_binary": "psycopg",
    "sqlalchemy": "statements",
}
# These, and what is below them, no cold start may import; with the reason.
FORBIDDEN = {
    "aws_lambda_powertools.event_handler": "FastAPI routes",
    "aws_lambda_powertools.utilities.parameters": "boto3; secrets are read without",
    "aws_lambda_powertools.utilities.parser": "pydantic is used without it",
    "aws_xray_sdk": "290 ms; there is no tracer",
    "shared.aws": "only for a secret or IAM",
    "boto3": "more than 100 ms; secrets are read without",
    "botocore.client": "boto3",
    "botocore.session": "boto3",
    "dns": "no address is looked up, ever",
    "email_validator": "only where an address is given",
    "fastapi.middleware.cors": "CORS is API Gateway's",
    "fastapi.staticfiles": "only the docs have files",
    "opentelemetry.exporter": "no telemetry but ours",
    "opentelemetry.sdk": "no telemetry but ours",
    "redis.asyncio.client": "its connection is used, which takes several commands at once",
    "redis.asyncio.cluster": "cluster mode is off; import from `redis.asyncio.connection`",
    "redis.cluster": "cluster mode is off; import from `redis.asyncio.connection`",
    "redis.commands.bf": "modules of Redis that are not used",
    "redis.commands.json": "modules of Redis that are not used",
    "redis.commands.search": "modules of Redis that are not used",
    "redis.commands.timeseries": "modules of Redis that are not used",
    "sqlalchemy.dialects.mssql": "not our database",
    "sqlalchemy.dialects.mysql": "not our database",
    "sqlalchemy.dialects.oracle": "not our database",
    "sqlalchemy.dialects.sqlite": "not our database",
    "sqlalchemy.orm": "50 ms; Core's tables, and `sqlalchemy.ext.asyncio.engine`",
}

COLD_START = """
import sys
at_start = set(sys.modules)
import importlib, json, os
class Context:
    aws_request_id = "benchmark"
    def get_remaining_time_in_millis(self):
        return 10_000
responses, sys.stdout = sys.stdout, sys.stderr
handler = importlib.import_module(sys.argv[1] + ".handler").handler
response = handler(json.loads(sys.argv[2]), Context())
assert response["statusCode"] == 200, response
print(json.dumps(sorted(set(sys.modules) - at_start)), file=responses, flush=True)
os._exit(0)
"""


def cold_start(resource: str, **environment: str) -> set[str]:
    """Return the modules that a fresh process has imported when it has returned a list."""
    event = json.dumps(sample_events()[f"{resource}-list_{resource}"])
    done = subprocess.run(
        [sys.executable, "-c", COLD_START, resource, event],
        env=os.environ | {"PYTHONPATH": PYTHON_PATH} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_cached_page_imports_only_the_packages_that_are_listed(
    resource: str, api: httpx.Client, cache: Any
) -> None:
    """Another worker has cached it, and there is no PostgreSQL."""
    event = sample_events()[f"{resource}-list_{resource}"]
    api.get(f"{event['rawPath']}?{event['rawQueryString']}").raise_for_status()
    for key in cache.scan_iter():
        cache.persist(key)  # an empty page would expire before the process has started
    imported = cold_start(resource, DATABASE_URL=NO_DATABASE)
    assert third_party(imported) - set(ALLOWED) == set()


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.usefixtures("database", "cache")
def test_a_page_from_the_database_imports_only_what_is_listed_and_nothing_forbidden(
    resource: str,
) -> None:
    imported = cold_start(resource)
    assert third_party(imported) - set(ALLOWED) - set(ALLOWED_TO_READ) == set()
    assert {name: FORBIDDEN[name] for name in FORBIDDEN if imports(imported, name)} == {}


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_secret_is_read_without_boto3(
    resource: str, api: httpx.Client, services: Services, manager: Manager
) -> None:
    imported = cold_start(resource, DATABASE_URL=new_secret(manager, services.database_url))
    assert "shared.aws.secrets_manager" in imported
    assert {name for name in FORBIDDEN if imports(imported, name)} == {"shared.aws"}


def third_party(modules: set[str]) -> set[str]:
    packages = {module.partition(".")[0] for module in modules}
    compiled = {name for name in packages if name.startswith("_") or name == "cython_runtime"}
    return packages - sys.stdlib_module_names - compiled - {"shared", *RESOURCES}


def imports(modules: set[str], name: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for module in modules)
