"""PUT and PATCH /users/{id}."""

from typing import Any

import httpx
import pytest

from tests.users.conftest import CreateUser

CHANGES: list[dict[str, str]] = [
    {"name": "Countess"},
    {"email": "countess@example.org"},
    {"name": "Countess", "email": "countess@example.org"},
    {},
]


def test_put_replaces_name_and_address(api: httpx.Client, create_user: CreateUser) -> None:
    user = create_user()
    wanted = {"name": "Countess", "email": "countess@example.org"}
    answer = api.put(f"/users/{user['id']}", json=wanted)

    assert answer.status_code == 200
    assert answer.json() == user | wanted
    assert api.get(f"/users/{user['id']}").json() == user | wanted


@pytest.mark.parametrize("missing", ["name", "email"])
def test_put_wants_every_field(api: httpx.Client, create_user: CreateUser, missing: str) -> None:
    user = create_user()
    wanted = {"name": "Countess", "email": "countess@example.org"}
    del wanted[missing]
    answer = api.put(f"/users/{user['id']}", json=wanted)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [missing]
    assert api.get(f"/users/{user['id']}").json() == user


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: "+".join(changes) or "nothing")
def test_patch_changes_what_is_given(
    api: httpx.Client, create_user: CreateUser, changes: dict[str, str]
) -> None:
    user = create_user()
    answer = api.patch(f"/users/{user['id']}", json=changes)

    assert answer.status_code == 200
    assert answer.json() == user | changes
    assert api.get(f"/users/{user['id']}").json() == user | changes


def test_a_change_of_one_user_leaves_the_others(api: httpx.Client, create_user: CreateUser) -> None:
    first, second = create_user(), create_user(email="grace@example.org")
    api.patch(f"/users/{first['id']}", json={"name": "Countess"})
    api.put(f"/users/{first['id']}", json={"name": "C", "email": "c@example.org"})

    assert api.get(f"/users/{second['id']}").json() == second


def test_a_merge_patch_is_json(api: httpx.Client, create_user: CreateUser) -> None:
    user = create_user()
    answer = api.patch(
        f"/users/{user['id']}",
        content='{"name": "Countess"}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.json() == user | {"name": "Countess"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": None}, "name"),
        ({"email": None}, "email"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"email": "nobody"}, "email"),
        ({"nmae": "Countess"}, "nmae"),
        ({"id": 7}, "id"),
        ({"created_at": "2020-01-01"}, "created_at"),
    ],
)
def test_patch_refuses_what_create_refuses(
    api: httpx.Client, create_user: CreateUser, changes: dict[str, Any], field: str
) -> None:
    user = create_user()
    answer = api.patch(f"/users/{user['id']}", json=changes)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert api.get(f"/users/{user['id']}").json() == user


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_address_of_another_user_is_taken(
    api: httpx.Client, create_user: CreateUser, method: str
) -> None:
    create_user(email="ADA@example.org")
    grace = create_user(email="grace@example.org")
    answer = api.request(
        method, f"/users/{grace['id']}", json={"name": "Grace", "email": "ada@example.org"}
    )

    assert answer.status_code == 409
    assert api.get(f"/users/{grace['id']}").json() == grace


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_user_may_keep_the_address_in_another_case(
    api: httpx.Client, create_user: CreateUser, method: str
) -> None:
    user = create_user(email="ada@example.org")
    answer = api.request(
        method, f"/users/{user['id']}", json={"name": "Ada", "email": "ADA@example.org"}
    )

    assert answer.status_code == 200
    assert answer.json()["email"] == "ADA@example.org"


def test_names_are_kept_in_nfc(api: httpx.Client) -> None:
    body = {"name": "Jose\u0301", "email": "jose@example.org"}
    user = api.post("/users", json=body).json()
    path = f"/users/{user['id']}"
    assert user["name"] == "Jos\u00e9"
    assert api.patch(path, json={"name": "Zoe\u0308"}).json()["name"] == "Zo\u00eb"
    assert api.put(path, json=body).json()["name"] == "Jos\u00e9"
    assert api.get("/users/search?name=Jose%CC%81").json()["data"] == [api.get(path).json()]
