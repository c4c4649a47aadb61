"""Fixtures of the posts' tests."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.migrations.conftest import empty_url, migrate, migrated, migrated_url, schema  # noqa: F401

CreatePost = Callable[..., dict[str, Any]]


@pytest.fixture
def ada(api: httpx.Client) -> int:
    """The id of a user."""
    response = api.post("/users", json={"name": "Ada", "email": "ada@example.org"})
    return int(response.json()["id"])


@pytest.fixture
def create_post(api: httpx.Client) -> CreatePost:
    """Create a post through the API; return the response's body."""

    def create(user_id: int, title: str = "Notes", content: str = "On the engine") -> Any:
        body = {"user_id": user_id, "title": title, "content": content}
        response = api.post("/posts", json=body)
        assert response.status_code == 201, response.text
        return response.json()

    return create
