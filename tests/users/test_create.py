"""POST /users: what is created, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from tests.users.conftest import CreateUser

ADA = {"name": "Ada Lovelace", "email": "ada@example.org"}

NAMES_REFUSED = {
    "empty": "",
    "blank": "   ",
    "blank by Unicode": "\u2003\u00a0",
    "201 characters": "x" * 201,
    "NUL": "A\x00da",
    "line end": "Ada\nLovelace",
    "tab": "Ada\tLovelace",
    "delete": "Ada\x7f",
    "C1 control": "Ada\x85",
    "number": 7,
    "true": True,
    "null": None,
    "list": ["Ada"],
}

EMAILS_REFUSED = {
    "empty": "",
    "no at": "ada.example.org",
    "no domain": "ada@",
    "no user": "@example.org",
    "two ats": "ada@home@example.org",
    "space": "ada lovelace@example.org",
    "NUL": "a\x00da@example.org",
    "line end": "ada@example.org\n",
    "display name": "Ada <ada@example.org>",
    "255 characters": f"ada@{'x' * 60}.{'y' * 60}.{'z' * 60}.{'w' * 60}.{'v' * 8}",
    "number": 7,
    "null": None,
}

BODIES_REFUSED = {
    "no fields": ({}, {"name", "email"}),
    "no email": ({"name": "Ada"}, {"email"}),
    "no name": ({"email": "ada@example.org"}, {"name"}),
    "unknown field": (ADA | {"admin": True}, {"admin"}),
    "id": (ADA | {"id": 7}, {"id"}),
    "created_at": (ADA | {"created_at": "2020-01-01T00:00:00Z"}, {"created_at"}),
    "both wrong": ({"name": "", "email": "x"}, {"name", "email"}),
    "list": ([ADA], {"body"}),
    "text": ("Ada", {"body"}),
    "null": (None, {"body"}),
}


def test_a_created_user_is_answered_with_its_id_and_time(api: httpx.Client) -> None:
    answer = api.post("/users", json=ADA)

    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    user = answer.json()
    assert set(user) == {"id", "name", "email", "created_at"}
    assert {"name": user["name"], "email": user["email"]} == ADA
    created_at = datetime.fromisoformat(user["created_at"])
    assert abs(datetime.now(UTC) - created_at) < timedelta(minutes=1)


def test_location_leads_to_the_created_user(api: httpx.Client) -> None:
    answer = api.post("/users", json=ADA)

    assert answer.headers["location"] == f"/users/{answer.json()['id']}"
    assert api.get(answer.headers["location"]).json() == answer.json()


@pytest.mark.parametrize(
    "name", ["x", "x" * 200, "Ü" * 200, "😀" * 200, " padded ", "O'Brien", "%_\\", "محمد"]
)
def test_a_name_is_kept_as_it_was_sent(create_user: CreateUser, name: str) -> None:
    assert create_user(name=name)["name"] == name


def test_a_domain_is_kept_in_lower_case_and_the_mailbox_as_sent(create_user: CreateUser) -> None:
    assert create_user(email="Ada@EXAMPLE.Org")["email"] == "Ada@example.org"


def test_the_longest_address_is_taken(create_user: CreateUser) -> None:
    address = f"ada@{'x' * 60}.{'y' * 60}.{'z' * 60}.{'w' * 60}.{'v' * 6}"
    assert len(address) == 254
    assert create_user(email=address)["email"] == address


@pytest.mark.parametrize("name", NAMES_REFUSED.values(), ids=NAMES_REFUSED.keys())
def test_a_name_that_is_not_acceptable_is_refused(
    api: httpx.Client, database: psycopg.Connection[Any], name: object
) -> None:
    answer = api.post("/users", json=ADA | {"name": name})

    assert answer.status_code == 422
    assert [(error["in"], error["field"]) for error in answer.json()["errors"]] == [
        ("body", "name")
    ]
    assert database.execute("SELECT count(*) FROM users").fetchone() == (0,)


@pytest.mark.parametrize("email", EMAILS_REFUSED.values(), ids=EMAILS_REFUSED.keys())
def test_an_address_that_is_none_is_refused(api: httpx.Client, email: object) -> None:
    answer = api.post("/users", json=ADA | {"email": email})

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["email"]


@pytest.mark.parametrize(("body", "fields"), BODIES_REFUSED.values(), ids=BODIES_REFUSED.keys())
def test_every_wrong_field_is_named(api: httpx.Client, body: object, fields: set[str]) -> None:
    answer = api.post("/users", json=body)

    assert answer.status_code == 422
    problem = answer.json()
    assert {error["field"] for error in problem["errors"]} == fields
    assert all(error["in"] == "body" and error["message"] for error in problem["errors"])
    assert all(field in problem["detail"] for field in fields)


@pytest.mark.parametrize("field", ["name", "email"])
def test_a_lone_surrogate_is_refused(api: httpx.Client, field: str) -> None:
    bodies = {
        "name": b'{"name": "\\ud800", "email": "ada@example.org"}',
        "email": b'{"name": "Ada", "email": "\\udfff@example.org"}',
    }
    answer = api.post("/users", content=bodies[field], headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_lone_surrogate_in_a_fields_name_is_refused(api: httpx.Client) -> None:
    body = b'{"name": "Ada", "email": "ada@example.org", "\\ud800": 1}'
    answer = api.post("/users", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["in"] == "body"


def test_a_surrogate_pair_is_a_character(api: httpx.Client) -> None:
    body = b'{"name": "\\ud83d\\ude00", "email": "ada@example.org"}'
    answer = api.post("/users", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 201
    assert answer.json()["name"] == "😀"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ada@example.org", "ada@example.org"),
        ("ada@example.org", "ADA@example.org"),
        ("ada@example.org", "ada@EXAMPLE.ORG"),
        ("jürgen@example.org", "JÜRGEN@example.org"),
        ("ÅSE@example.org", "åse@example.org"),
        ("жук@example.org", "ЖУК@example.org"),
        ("j\u00fcrgen@example.org", "ju\u0308rgen@example.org"),
        ("ada@müller.example", "ada@MÜLLER.example"),
    ],
)
def test_an_address_is_taken_whatever_its_case(
    api: httpx.Client,
    create_user: CreateUser,
    database: psycopg.Connection[Any],
    first: str,
    second: str,
) -> None:
    create_user(email=first)
    answer = api.post("/users", json={"name": "Another", "email": second})

    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems#already-taken"
    assert database.execute("SELECT count(*) FROM users").fetchone() == (1,)


def test_an_address_that_differs_by_more_than_case_is_free(create_user: CreateUser) -> None:
    create_user(email="jurgen@example.org")
    create_user(email="jürgen@example.org")


def test_a_conflict_says_nothing_of_the_database(
    api: httpx.Client, create_user: CreateUser
) -> None:
    create_user(email="ada@example.org")
    text = api.post("/users", json=ADA).text

    for word in ("users_email_key", "duplicate key", "psycopg", "INSERT", "ada@example.org"):
        assert word not in text


def test_the_database_gives_ids_that_a_failed_write_does_not_repeat(
    api: httpx.Client, create_user: CreateUser
) -> None:
    first = create_user(email="one@example.org")
    api.post("/users", json={"name": "Taken", "email": "one@example.org"})
    assert create_user(email="two@example.org")["id"] > first["id"]


def test_the_last_of_two_equal_keys_counts(api: httpx.Client) -> None:
    body = '{"name": "First", "name": "Last", "email": "ada@example.org"}'
    answer = api.post("/users", content=body, headers={"Content-Type": "application/json"})

    assert answer.json()["name"] == "Last"
