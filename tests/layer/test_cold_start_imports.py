"""What a cold start may import up to its first answer: nothing heavy that the answer does not need.

Every millisecond here is added to every cold start; `python -m benchmarks cold` shows what each
package costs. Importing a module inside the function that needs it keeps it out.
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
PYTHON_PATH = os.pathsep.join((str(ROOT / "functions"), str(ROOT / "layers" / "blog")))
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"

# The third-party packages that a page from the cache takes, and why.
ALLOWED = {
    "annotated_doc": "FastAPI",
    "annotated_types": "pydantic",
    "anyio": "Starlette",
    "async_timeout": "redis-py on Python before 3.11.3, which Lambda does not have",
    "aws_lambda_powertools": "log lines and metrics",
    "botocore": "Powertools tells it its version; the package alone, nothing below it",
    "cryptography": "redis-py looks whether it is there; in the layer it is not",
    "fastapi": "routes",
    "jmespath": "Powertools' logger",
    "mangum": "events to ASGI",
    "opentelemetry": "FastAPI; its API alone",
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
    "blog.aws": "only for a secret or IAM",
    "boto3": "more than 100 ms; secrets are read without",
    "botocore.client": "boto3",
    "botocore.session": "boto3",
    "dns": "no address is looked up, ever",
    "email_validator": "only where an address is given",
    "fastapi.middleware.cors": "CORS is API Gateway's",
    "fastapi.staticfiles": "only the docs have files",
    "opentelemetry.exporter": "no telemetry but ours",
    "opentelemetry.sdk": "no telemetry but ours",
    "redis.commands.bf": "modules of Redis that are not used",
    "redis.commands.json": "modules of Redis that are not used",
    "redis.commands.search": "modules of Redis that are not used",
    "redis.commands.timeseries": "modules of Redis that are not used",
    "sqlalchemy.dialects.mssql": "not our database",
    "sqlalchemy.dialects.mysql": "not our database",
    "sqlalchemy.dialects.oracle": "not our database",
    "sqlalchemy.dialects.sqlite": "not our database",
}

COLD_START = """
import sys
at_start = set(sys.modules)
import importlib, json, os
class Context:
    aws_request_id = "benchmark"
    def get_remaining_time_in_millis(self):
        return 10_000
answers, sys.stdout = sys.stdout, sys.stderr
handler = importlib.import_module(sys.argv[1] + ".handler").handler
answer = handler(json.loads(sys.argv[2]), Context())
assert answer["statusCode"] == 200, answer
print(json.dumps(sorted(set(sys.modules) - at_start)), file=answers, flush=True)
os._exit(0)
"""


def cold_start(resource: str, **environment: str) -> set[str]:
    """The modules that a fresh process has imported when it has answered a list."""
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


@pytest.fixture(params=RESOURCES)
def resource(request: pytest.FixtureRequest) -> str:
    """Each resource with a list that is cached."""
    return str(request.param)


@pytest.fixture
def for_a_hit(resource: str, api: httpx.Client, cache: Any) -> set[str]:
    """What is imported up to a page that another sandbox has cached: PostgreSQL is not there."""
    event = sample_events()[f"{resource}-list_{resource}"]
    api.get(f"{event['rawPath']}?{event['rawQueryString']}").raise_for_status()
    for (
        key
    ) in cache.scan_iter():  # an empty page would not live as long as a process takes to start
        cache.persist(key)
    return cold_start(resource, DATABASE_URL=NO_DATABASE)


@pytest.fixture
def for_a_miss(resource: str, api: httpx.Client) -> set[str]:
    """What is imported up to a page that nobody has cached."""
    return cold_start(resource)


def test_a_cached_page_takes_only_the_packages_that_are_listed(for_a_hit: set[str]) -> None:
    assert third_party(for_a_hit) - set(ALLOWED) == set()


def test_a_page_from_the_database_takes_only_the_packages_that_are_listed(
    for_a_miss: set[str],
) -> None:
    assert third_party(for_a_miss) - set(ALLOWED) - set(ALLOWED_TO_READ) == set()


def test_no_cold_start_imports_what_is_forbidden(for_a_miss: set[str]) -> None:
    assert {name: FORBIDDEN[name] for name in FORBIDDEN if imports(for_a_miss, name)} == {}


def test_a_secret_is_read_without_boto3(
    resource: str, api: httpx.Client, services: Services, manager: Manager
) -> None:
    imported = cold_start(resource, DATABASE_URL=new_secret(manager, services.database_url))
    assert "blog.aws.secrets_manager" in imported
    assert {name for name in FORBIDDEN if imports(imported, name)} == {"blog.aws"}


def third_party(modules: set[str]) -> set[str]:
    packages = {module.partition(".")[0] for module in modules}
    compiled = {name for name in packages if name.startswith("_") or name == "cython_runtime"}
    return packages - sys.stdlib_module_names - compiled - {"blog", *RESOURCES}


def imports(modules: set[str], name: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for module in modules)
