"""GET /users/{id}: the user, or why there is none."""

import httpx
import pytest

from tests.users.conftest import CreateUser


def test_a_user_is_shown(api: httpx.Client, create_user: CreateUser) -> None:
    user = create_user()
    answer = api.get(f"/users/{user['id']}")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == user


def test_an_id_with_leading_zeros_is_the_same_id(
    api: httpx.Client, create_user: CreateUser
) -> None:
    user = create_user()
    assert api.get(f"/users/000{user['id']}").json() == user


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH"])
@pytest.mark.parametrize("user_id", [1, 2**31, 2**63 - 1])
def test_an_unknown_user_is_not_found(api: httpx.Client, method: str, user_id: int) -> None:
    body = {"name": "Ada", "email": "ada@example.org"} if method.startswith("P") else None
    answer = api.request(method, f"/users/{user_id}", json=body)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "/problems#not-found"
    assert problem["detail"] == f"There is no user {user_id}."


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH"])
@pytest.mark.parametrize(
    ("user_id", "status"),
    [
        ("0", 422),
        (str(2**63), 422),
        (str(2**64), 404),
        ("9" * 5000, 404),
        ("-1", 404),
        ("+1", 404),
        ("1.0", 404),
        ("1e3", 404),
        ("0x1", 404),
        ("%31%00", 404),
        ("%2531", 404),  # decoded twice it would be 1
        ("%D9%A1", 404),  # ARABIC-INDIC DIGIT ONE
        ("null", 404),
        ("1/", 404),
        ("1/2", 404),
    ],
)
def test_what_is_no_id_is_refused(
    api: httpx.Client, create_user: CreateUser, method: str, user_id: str, status: int
) -> None:
    create_user()
    body = {"name": "Ada", "email": "a@example.org"} if method.startswith("P") else None
    answer = api.request(method, f"/users/{user_id}", json=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
