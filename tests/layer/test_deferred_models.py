"""FastAPI as the functions import it does all that FastAPI does; only later."""

import json
import subprocess
import sys

import pytest

from tests.resources import ROUTED

MODELS = "fastapi.openapi.models"

SECURED = """
from fastapi import Depends, FastAPI
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBearer, OAuth2, OAuth2PasswordBearer
from fastapi.security import HTTPBasic, HTTPDigest, OpenIdConnect, OAuth2AuthorizationCodeBearer

app = FastAPI()
for number, scheme in enumerate([
    APIKeyHeader(name="X-Key"), APIKeyQuery(name="key"), HTTPBearer(), OAuth2(scheme_name="Bare"),
    OAuth2PasswordBearer("token"), HTTPBasic(), HTTPDigest(), OpenIdConnect(openIdConnectUrl="/id"),
    OAuth2AuthorizationCodeBearer("authorize", "token"),
]):
    app.add_api_route(f"/{number}", lambda: None, dependencies=[Depends(scheme)])
"""
DEFER = "from shared.coldstart.deferred_models import defer_openapi_models as d; d()"
PRINT_DOCUMENT = "import json; print(json.dumps(app.openapi()))"


def python(code: str) -> str:
    """Return what the code prints in a new process."""
    paths = f"import sys; sys.path[:0] = {sys.path!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", paths + code], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("function", ROUTED)
def test_a_function_does_not_make_the_documents_models(function: str) -> None:
    code = f"import sys, {function}.handler\nprint(type(sys.modules['{MODELS}']) is type(sys))"
    assert python(code).strip() == "False"


def test_the_document_is_the_same() -> None:
    lean = json.loads(python(DEFER + "\n" + SECURED + PRINT_DOCUMENT))
    assert lean == json.loads(python(SECURED + PRINT_DOCUMENT))
    assert len(lean["components"]["securitySchemes"]) == 9


def test_fastapi_that_was_imported_before_is_unchanged() -> None:
    code = f"import fastapi, sys\n{DEFER}\nprint(type(sys.modules['{MODELS}']) is type(sys))"
    assert python(code).strip() == "True"


def test_the_modules_of_a_function_can_be_inspected() -> None:
    """Which looks for the file of each."""
    code = "import inspect, json; print(inspect.getmodule(json.dumps.__code__).__name__)"
    assert python(f"{DEFER}\n{code}").strip() == "json"
