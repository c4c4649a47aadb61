"""The request middleware: deadlines, request ids, unhandled errors."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from time import perf_counter
from types import FunctionType
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel, ValidationError
from starlette.background import BackgroundTask

from shared import settings
from shared.http.application import create_app, lambda_handler
from tests.conftest import Worker
from tests.in_process import LambdaTransport, client_of

SLOW_COMMIT = """
CREATE FUNCTION sleep_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON writers DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION sleep_at_commit()
"""

Route = Callable[[], Awaitable[object]]
pytestmark = pytest.mark.usefixtures("worker")


def serve(route: Route, seconds: float = 10.0) -> LambdaTransport:
    """A function of one route, `/things`, and how long it may run."""
    router = APIRouter()
    router.add_api_route("/things", route)
    return LambdaTransport(seconds, lambda_handler(create_app(router, is_public=True)))


def call(function: LambdaTransport, request_id: str | None = None) -> httpx.Response:
    headers = {} if request_id is None else {b"X-Request-Id": request_id.encode()}
    return function.handle_request(httpx.Request("GET", "http://api.test/things", headers=headers))


def gateways_request_id(function: LambdaTransport) -> str:
    return str(function.last_event["requestContext"]["requestId"])


async def respond_well() -> dict[str, str]:
    return {"all": "well"}


async def respond_late() -> dict[str, str]:
    await asyncio.sleep(5)
    return {"too": "late"}


async def fail() -> None:
    raise LookupError("s3cret")


async def time_out() -> None:
    raise TimeoutError("s3cret")


async def refuse() -> None:
    raise HTTPException(400, "s3cret")


async def find_nothing() -> None:
    raise HTTPException(404, "s3cret")


async def respond_before_the_end() -> Response:
    return Response("well", background=BackgroundTask(asyncio.sleep, 5))


def test_a_response_that_would_be_late_is_503_within_lambdas_time() -> None:
    function = serve(respond_late, seconds=0.7)
    started_at = perf_counter()
    response = call(function)

    assert perf_counter() - started_at < 0.7
    assert response.status_code == 503
    assert response.json()["type"] == "/problems#deadline-exceeded"
    assert response.headers["retry-after"] == "1"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc", "/things/"])
def test_a_function_has_its_own_routes_only(path: str) -> None:
    response = serve(respond_well).handle_request(httpx.Request("GET", f"http://api.test{path}"))
    assert response.status_code == 404


def test_an_opentelemetry_that_is_configured_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI would report each path and query to it, by itself."""
    asked = []

    class Provider:
        def __getattr__(self, name: str) -> None:
            asked.append(name)

    # What `set_tracer_provider` and the others set, which can be done only once in a process.
    for kind in ("trace._TRACER", "metrics._internal._METER", "_logs._internal._LOGGER"):
        monkeypatch.setattr(f"opentelemetry.{kind}_PROVIDER", Provider())
    assert [call(serve(route)).status_code for route in (respond_well, fail)] == [200, 500]
    assert asked == []


def test_a_response_that_was_sent_stands_when_its_background_task_is_late(
    capsys: pytest.CaptureFixture[str],
) -> None:
    response = call(serve(respond_before_the_end, seconds=0.6))
    assert (response.status_code, response.text) == (200, "well")
    [line] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["message"], line["status"]) == ("request", 200)


def test_requests_go_on_after_a_deadline() -> None:
    waits = [5.0, 0.0]

    async def respond_late_once() -> str:
        await asyncio.sleep(waits.pop(0))
        return "well"

    function = serve(respond_late_once, seconds=0.6)
    assert call(function).status_code == 503
    assert call(function).json() == "well"


def test_a_write_that_waits_past_its_deadline_changes_nothing(
    worker: Worker, api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    api.post("/writers", json={"name": "Ada", "email": "ada@example.org"})
    with (
        client_of(seconds=0.8) as hasty,
        database.transaction(),
    ):
        database.execute("SELECT * FROM writers FOR UPDATE")
        response = hasty.patch("/writers/1", json={"name": "Countess"})

    assert response.status_code == 503
    assert response.json()["type"] == "/problems#deadline-exceeded"
    assert api.get("/writers/1").json()["name"] == "Ada"
    assert api.patch("/writers/1", json={"name": "Countess"}).json()["name"] == "Countess"


@pytest.mark.parametrize(
    ("route", "error"),
    [
        (fail, LookupError),
        (time_out, TimeoutError),
        (refuse, HTTPException),
        (find_nothing, HTTPException),
    ],
)
def test_an_unhandled_error_is_500_and_logged_once_with_its_traceback(
    route: FunctionType, error: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    function = serve(route)
    response = call(function)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    errors = [line for line in lines if line.get("level") == "ERROR"]

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems#internal-error"
    assert response.headers["x-request-id"]
    assert "s3cret" not in response.text
    assert [line["message"] for line in errors] == ["unhandled error"]
    assert errors[0]["exception_name"] == error.__name__
    assert f"in {route.__name__}" in errors[0]["exception"]
    assert errors[0]["correlation_id"] == gateways_request_id(function)
    assert [line["status"] for line in lines if line.get("message") == "request"] == [500]


SECRET = "ada.secretson@example.org"


class Thing(BaseModel):
    name: int


async def mismatch() -> None:
    try:
        Thing.model_validate({"name": SECRET})
    except ValidationError as error:
        raise LookupError("no such thing") from error


async def mismatch_of_response_model() -> Thing:
    return {"name": SECRET}  # type: ignore[return-value]


async def violate() -> None:
    """A driver's error, whose detail is the row."""
    url = settings.settings().database_url
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(
            "INSERT INTO writers (name, email) VALUES (%(name)s, %(name)s), (%(name)s, %(name)s)",
            {"name": SECRET},
        )


@pytest.mark.parametrize("route", [mismatch, mismatch_of_response_model, violate])
def test_the_log_of_an_unhandled_error_has_its_reason_and_no_value(
    database: psycopg.Connection[Any],
    route: FunctionType,
    capsys: pytest.CaptureFixture[str],
) -> None:
    response = call(serve(route))
    printed = "".join(capsys.readouterr())
    [error] = [line for line in map(json.loads, printed.splitlines()) if line["level"] == "ERROR"]

    assert response.status_code == 500
    assert SECRET not in printed
    assert f"in {route.__name__}" in error["exception"] or route is mismatch_of_response_model
    assert error["exception_name"] in error["exception"]
    if route is mismatch:
        assert "ValidationError: 1 validation error for Thing: name (int_par" in error["exception"]
        assert "LookupError: no such thing" in error["exception"]


@pytest.mark.parametrize(
    "request_id", ["abc", "x" * 128, "0f8fad5b-d9cb-469f-a165-70867728950e", "a.b_c:d/e+f=g-1"]
)
def test_a_clients_request_id_is_echoed(request_id: str) -> None:
    assert call(serve(respond_well), request_id).headers["x-request-id"] == request_id


@pytest.mark.parametrize(
    "request_id", ["", "x" * 129, "two words", 'quote"', "<script>", "a,b", "a;b", "a\tb", "ü"]
)
def test_an_invalid_request_id_is_replaced_by_the_gateways(request_id: str) -> None:
    function = serve(respond_well)
    response = call(function, request_id)

    assert response.headers["x-request-id"] == gateways_request_id(function)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/writers"),
        ("GET", "/writers/1"),
        ("POST", "/writers"),
        ("DELETE", "/writers"),
        ("GET", "/nix"),
        ("GET", "/docs"),
        ("GET", "/"),
    ],
)
def test_every_response_has_its_request_id(api: httpx.Client, method: str, path: str) -> None:
    response = api.request(method, path, headers={"X-Request-Id": "mine-1"})
    assert response.headers.get_list("x-request-id") == ["mine-1"]
    ids = {api.request(method, path).headers["x-request-id"] for _ in range(2)}
    assert len(ids - {"", "mine-1"}) == 2


def test_a_deadline_during_commit_is_an_unknown_outcome(
    worker: Worker, database: psycopg.Connection[Any]
) -> None:
    database.execute(SLOW_COMMIT)
    try:
        with httpx.Client(transport=LambdaTransport(seconds=1.0), base_url="http://api") as api:
            response = api.post("/writers", json={"name": "Slow", "email": "slow@example.com"})
    finally:
        database.execute("DROP FUNCTION sleep_at_commit CASCADE")
    assert response.status_code == 503
    assert response.json()["type"] == "/problems#outcome-unknown"
    assert response.headers["retry-after"] == "1"
