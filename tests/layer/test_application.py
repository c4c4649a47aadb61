"""The boundary of a request: its deadline, its ids, its bugs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import APIRouter

from blog.application import create_app, lambda_handler
from tests.conftest import Sandbox
from tests.in_process import LambdaContext, LambdaTransport, event_of, response_of

Route = Callable[[], Awaitable[object]]
Call = Callable[..., httpx.Response]


def handler_of(route: Route) -> Any:
    router = APIRouter()
    router.add_api_route("/things", route)
    return lambda_handler(create_app(router))


def call(handler: Any, seconds: float = 10.0, **headers: str) -> httpx.Response:
    """The handler's answer to GET /things."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    event = event_of(httpx.Request("GET", "http://api.test/things", headers=names))
    return response_of(json.loads(json.dumps(handler(event, LambdaContext(seconds)))))


async def answer_well() -> dict[str, str]:
    return {"all": "well"}


async def answer_late() -> dict[str, str]:
    await asyncio.sleep(5)
    return {"too": "late"}


async def fail() -> None:
    raise LookupError("a bug with s3cret")


async def time_out() -> None:
    raise TimeoutError("a bug with s3cret")


@pytest.mark.usefixtures("sandbox")
def test_an_answer_that_would_be_too_late_is_503_before_lambdas_time_is_over() -> None:
    started_at = perf_counter()
    answer = call(handler_of(answer_late), seconds=0.7)

    assert perf_counter() - started_at < 0.7
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems#deadline-exceeded"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]


@pytest.mark.usefixtures("sandbox")
def test_a_sandbox_goes_on_after_a_deadline() -> None:
    handler = handler_of(answer_late)
    call(handler, seconds=0.6)
    assert call(handler, seconds=0.6).status_code == 503
    assert call(handler_of(answer_well)).json() == {"all": "well"}


def test_a_write_that_waits_past_its_deadline_changes_nothing(
    sandbox: Sandbox, api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    api.post("/users", json={"name": "Ada", "email": "ada@example.org"})
    with (
        httpx.Client(transport=LambdaTransport(seconds=0.8), base_url="http://api.test") as hasty,
        database.transaction(),
    ):
        database.execute("SELECT * FROM users FOR UPDATE")
        answer = hasty.patch("/users/1", json={"name": "Countess"})

    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems#deadline-exceeded"
    assert api.get("/users/1").json()["name"] == "Ada"
    assert api.patch("/users/1", json={"name": "Countess"}).json()["name"] == "Countess"


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("route", [fail, time_out])
def test_a_bug_is_answered_500_and_logged_once_with_its_traceback(
    route: Route, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = call(handler_of(route))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    errors = [line for line in lines if line.get("level") == "ERROR"]

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems#internal-error"
    assert answer.headers["x-request-id"]
    assert "s3cret" not in answer.text
    assert [error["message"] for error in errors] == ["unhandled error"]
    assert f"in {route.__name__}" in errors[0]["exception"]
    assert errors[0]["correlation_id"] == answer.headers["x-request-id"]
    assert [line["status"] for line in lines if line.get("message") == "request"] == [500]


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    "request_id", ["abc", "x" * 128, "0f8fad5b-d9cb-469f-a165-70867728950e", "a.b_c:d/e+f=g-1"]
)
def test_a_clients_request_id_is_echoed(request_id: str) -> None:
    assert call(handler_of(answer_well), X_Request_Id=request_id).headers["x-request-id"] == (
        request_id
    )


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    "request_id", ["", "x" * 129, "two words", 'quote"', "<script>", "a,b", "a;b", "a\tb", "ü"]
)
def test_another_request_id_is_the_gateways(request_id: str) -> None:
    event = event_of(httpx.Request("GET", "http://api.test/things"))
    event["headers"]["x-request-id"] = request_id
    answer = response_of(handler_of(answer_well)(event, LambdaContext()))

    assert answer.headers["x-request-id"] == event["requestContext"]["requestId"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/users"),
        ("GET", "/users/1"),
        ("POST", "/users"),
        ("DELETE", "/users"),
        ("GET", "/nix"),
        ("GET", "/docs"),
        ("GET", "/"),
    ],
)
def test_every_answer_has_its_request_id(api: httpx.Client, method: str, path: str) -> None:
    answer = api.request(method, path, headers={"X-Request-Id": "mine-1"})
    assert answer.headers.get_list("x-request-id") == ["mine-1"]
    assert len(api.request(method, path).headers["x-request-id"]) == 36
