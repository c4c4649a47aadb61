"""Requests over real HTTP to real workers, without the command line around them."""

import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.runtime.pure_python import MAX_RESPONSE_BYTES
from local.runtime.worker import Worker
from tests.local.served import Served
from tests.local.toys import write_project


@pytest.fixture(scope="module")
def served(worker_type: type[Worker], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway before each kind of workers."""
    served = Served(write_project(tmp_path_factory.mktemp("served")), worker_type=worker_type)
    yield served
    served.close()


@pytest.fixture
def fresh(worker_type: type[Worker], project: Path) -> Iterator[Served]:
    """One without workers, and with two at most."""
    served = Served(project, max_workers=2, wait_seconds=1.0, worker_type=worker_type)
    yield served
    served.close()


def test_the_first_request_is_cold_and_the_next_is_warm(fresh: Served) -> None:
    first, second = fresh.get().json(), fresh.get().json()
    assert first["pid"] == second["pid"]
    fresh.last()
    cold, warm = (exchange.invocation for exchange in fresh.exchanges)
    assert cold
    assert warm
    assert cold.init_milliseconds is not None
    assert 5 < cold.init_milliseconds < 5000
    assert warm.init_milliseconds is None
    assert warm.report


def test_a_busy_worker_means_another_is_started(fresh: Served) -> None:
    with ThreadPoolExecutor(2) as threads:
        responses = list(threads.map(lambda _: fresh.get(mode="sleep", seconds=0.5), range(2)))
    assert len({response.json()["pid"] for response in responses}) == 2


def test_past_the_limit_requests_wait_for_a_free_worker(fresh: Served) -> None:
    with ThreadPoolExecutor(4) as threads:
        responses = list(threads.map(lambda _: fresh.get(mode="sleep", seconds=0.3), range(4)))
    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["pid"] for response in responses}) == 2


def test_a_request_that_waits_too_long_gets_503(project: Path) -> None:
    served = Served(project, max_workers=1, wait_seconds=0.2)
    try:
        served.get()  # a cold start would count towards the function's second
        with ThreadPoolExecutor(2) as threads:
            responses = list(threads.map(lambda _: served.get(mode="sleep", seconds=0.8), range(2)))
    finally:
        served.close()
    rejected = next(response for response in responses if response.status_code != 200)
    assert rejected.status_code == 503
    assert rejected.json() == {"message": "Service Unavailable"}


def test_an_exception_is_a_500_and_keeps_the_worker(served: Served) -> None:
    before = served.get().json()["pid"]
    response = served.get(mode="raise")
    assert response.status_code == 500
    assert response.json() == {"message": "Internal Server Error"}
    invocation = served.last().invocation
    assert invocation
    invocation.wait_for_logs(5)
    assert any("ValueError: boom" in line for line in served.lines)
    assert served.get().json()["pid"] == before


def test_after_a_crash_the_next_request_gets_a_new_worker(served: Served) -> None:
    before = served.get().json()["pid"]
    assert served.get(mode="exit").status_code == 500
    assert served.get().json()["pid"] != before


def test_a_worker_that_died_idle_is_replaced(served: Served) -> None:
    before = served.get().json()["pid"]
    os.kill(before, signal.SIGKILL)
    time.sleep(0.3)
    response = served.get()
    assert response.status_code == 200
    assert response.json()["pid"] != before


def test_a_function_that_takes_too_long_is_stopped(served: Served) -> None:
    before = served.get().json()["pid"]
    assert served.get(mode="sleep", seconds=10).status_code == 500
    exchange = served.last()
    assert exchange.invocation
    assert exchange.invocation.function_error == "Sandbox.Timedout"
    assert 1000 <= exchange.milliseconds < 3000
    assert served.get().json()["pid"] != before


def test_a_function_that_cannot_be_imported_works_once_corrected(fresh: Served) -> None:
    handler = fresh.project / "functions" / "toy" / "handler.py"
    code = handler.read_text()
    handler.write_text("import no_such_module\n")
    assert fresh.get().status_code == 500
    assert any("No module named 'no_such_module'" in line for line in fresh.lines)
    handler.write_text(code)
    assert fresh.get().status_code == 200


def test_workers_of_earlier_code_take_no_more_requests(fresh: Served) -> None:
    shared = fresh.project / "layers" / "shared" / "shared" / "__init__.py"
    fresh.get()  # a cold start would count towards the function's second
    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(fresh.get, mode="sleep", seconds=0.7)
        fresh.wait_for("asleep")
        idle = fresh.get().json()
        shared.write_text("VALUE = 2\n")
        renewed = fresh.get().json()
        assert busy.result().json()["value"] == 1
    assert (idle["value"], renewed["value"], fresh.get().json()["value"]) == (1, 2, 2)


def test_a_request_runs_the_code_as_it_is(fresh: Served) -> None:
    """Bytecode of another content would be taken for it: same size, same second."""
    shared = fresh.project / "layers" / "shared" / "shared" / "__init__.py"
    for value in range(2, 8):
        shared.write_text(f"VALUE = {value}\n")
        assert fresh.get().json()["value"] == value


@pytest.mark.parametrize("method", ["TRACE", "HEAD"])
def test_other_methods_reach_the_function(served: Served, method: str) -> None:
    response = served.client.request(method, "/else")
    assert response.status_code == 200
    assert served.last().method == method
    assert (response.content == b"") is (method == "HEAD")
    assert int(response.headers["content-length"]) > 100


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "BREW"])
def test_a_request_without_a_route_is_404(served: Served, method: str) -> None:
    response = served.client.request(method, "/toy")
    assert response.status_code == 404
    assert response.json() == {"message": "Not Found"}


def test_the_event_carries_what_was_sent(served: Served) -> None:
    response = served.client.post(
        "/toy?a=1&a=2&b=%00", content="ä".encode(), headers={"Content-Type": "text/plain"}
    )
    event = response.json()["event"]
    assert event["version"] == "2.0"
    assert event["body"] == "ä"
    assert event["rawQueryString"] == "a=1&a=2&b=%00"
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["requestContext"]["requestId"] == response.headers["apigw-requestid"]
    assert event["headers"]["content-length"] == "2"


def test_a_chunked_body_is_put_together(served: Served) -> None:
    parts = iter([b"first ", b"second"])
    response = served.client.post("/toy", content=parts, headers={"Content-Type": "text/plain"})
    assert response.json()["event"]["body"] == "first second"


def test_a_client_that_expects_100_continue_gets_it(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.gateway.port), 5) as connection:
        connection.sendall(
            b"POST /toy HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
            b"Content-Type: text/plain\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hi")
        response = b"".join(iter(lambda: connection.recv(65536), b""))
    assert response.startswith(b"HTTP/1.1 200 ")
    assert b'"body": "hi"' in response


def test_connections_are_kept_open(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.gateway.port, timeout=5)
    for _ in range(3):
        connection.request("POST", "/toy", b"{}")
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("Connection") is None
        response.read()
        local = connection.sock.getsockname()
    assert local == connection.sock.getsockname()
    connection.close()


def test_a_body_over_the_limit_is_rejected(served: Served) -> None:
    response = served.client.post("/toy", content=b"x" * (5 * 1024 * 1024))
    assert response.status_code == 413  # 6.7 MB in base64, over Lambda's limit


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /toy HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /toy HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n?\r\n", 400),
        (b"GET /toy HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n", 413),
    ],
)
def test_a_request_that_cannot_be_read_is_rejected(
    served: Served, head: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", served.gateway.port), 5) as connection:
        connection.sendall(head)
        response = b"".join(iter(lambda: connection.recv(65536), b""))
    assert response.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'{"message":' in response


def test_bytes_and_cookies_come_out_as_the_function_gave_them(served: Served) -> None:
    response = served.respond(
        {"statusCode": 418, "cookies": ["a=1", "b=2"], "body": "/wA=", "isBase64Encoded": True}
    )
    assert response.status_code == 418
    assert response.content == b"\xff\0"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "server" not in response.headers


def test_204_has_no_body_and_no_length(served: Served) -> None:
    response = served.respond({"statusCode": 204})
    assert response.status_code == 204
    assert "content-length" not in response.headers
    assert served.get().status_code == 200


def test_a_response_that_api_gateway_rejects_is_a_500(served: Served) -> None:
    response = served.respond({"statusCode": 200, "body": [1]})
    assert response.status_code == 500
    assert response.json() == {"message": "Internal Server Error"}


def test_a_response_above_lambdas_limit_is_a_500_that_names_it(served: Served) -> None:
    assert served.get(mode="fill", bytes=str(MAX_RESPONSE_BYTES)).status_code == 200
    assert served.get(mode="fill", bytes=str(MAX_RESPONSE_BYTES + 1)).status_code == 500
    exchange = served.last()
    assert exchange.invocation
    assert exchange.invocation.function_error == "Function.ResponseSizeTooLarge"


def test_a_response_that_looks_like_an_error_is_a_response(served: Served) -> None:
    response = served.respond({"errorMessage": "a field", "errorType": "a type"})
    assert response.status_code == 200


def test_a_function_sees_no_secrets_of_the_developer(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("SOME_TOKEN", "secret")
    served.pool.retire(["ToyFunction"])
    seen = served.get(mode="environment").json()
    assert seen["AWS_ACCESS_KEY_ID"] == "fake"
    assert seen["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert not [name for name, value in seen.items() if "secret" in value or value == "work"]
