"""A Redis that accepts connections and never responds costs little, and once."""

import socket
from collections.abc import Iterator
from time import perf_counter

import httpx
import pytest

from tests.conftest import Sandbox

SILENCE_SECONDS = 1.0


@pytest.fixture
def silent_redis(sandbox: Sandbox) -> Iterator[None]:
    """The sandbox's Redis takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        sandbox.restart(REDIS_URL=f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        yield


@pytest.mark.usefixtures("silent_redis")
def test_a_request_waits_once_and_the_next_does_not(api: httpx.Client) -> None:
    started_at = perf_counter()
    assert api.get("/users").status_code == 200
    first_seconds = perf_counter() - started_at
    started_at = perf_counter()
    for _ in range(3):
        assert api.get("/users").status_code == 200
    assert api.post("/users", json={"name": "A", "email": "a@example.org"}).status_code == 201
    assert len(api.get("/users").json()["data"]) == 1
    assert api.delete("/users/1").status_code == 204
    other_seconds = perf_counter() - started_at

    assert first_seconds < SILENCE_SECONDS
    assert other_seconds < SILENCE_SECONDS


@pytest.mark.parametrize("path", ["/users", "/users/search", "/users/stats", "/posts"])
def test_no_read_fails_without_redis(sandbox: Sandbox, api: httpx.Client, path: str) -> None:
    sandbox.restart(REDIS_URL="redis://127.0.0.1:1/0")
    assert api.get(path).status_code == 200


def test_no_write_fails_without_redis(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.restart(REDIS_URL="redis://127.0.0.1:1/0")
    body = {"name": "A", "email": "a@example.org"}

    assert api.post("/users", json=body).status_code == 201
    assert api.put("/users/1", json=body).status_code == 200
    assert api.patch("/users/1", json={"name": "B"}).status_code == 200
    assert api.get("/users").json()["data"][0]["name"] == "B"
    assert api.delete("/users/1").status_code == 204
