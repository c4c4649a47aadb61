"""Names and e-mail addresses of users: what is accepted, rejected, and unique."""

from typing import Any

import httpx
import psycopg
import pytest

from tests.auth.claims import ISSUER
from tests.conftest import ApiOf
from tests.documentation.curl import blocks
from tests.resources import ROOT
from tests.users.conftest import CreateUser

Database = psycopg.Connection[Any]

ADA = {"name": "Ada Lovelace", "email": "ada@example.org"}
JSON = {"Content-Type": "application/json"}

INVALID_NAMES: dict[str, object] = {
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
    "list": ["Ada"],
}
INVALID_EMAILS: dict[str, object] = {
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
}
INVALID = {"name": INVALID_NAMES, "email": INVALID_EMAILS}


def users(database: Database) -> list[Any]:
    return database.execute("SELECT * FROM users ORDER BY id").fetchall()


@pytest.mark.parametrize(
    "name", ["x", "x" * 200, "Ü" * 200, "😀" * 200, " padded ", "O'Brien", "%_\\", "محمد"]
)
def test_a_name_is_stored_as_it_was_sent(create_user: CreateUser, name: str) -> None:
    assert create_user(name=name)["name"] == name


def test_a_domain_is_stored_in_lower_case_and_the_mailbox_as_sent(create_user: CreateUser) -> None:
    assert create_user(email="Ada@EXAMPLE.Org")["email"] == "Ada@example.org"


def test_the_longest_address_is_accepted(create_user: CreateUser) -> None:
    address = f"ada@{'x' * 60}.{'y' * 60}.{'z' * 60}.{'w' * 60}.{'v' * 6}"
    assert len(address) == 254
    assert create_user(email=address)["email"] == address


@pytest.mark.parametrize("field", INVALID)
def test_an_invalid_field_is_named_and_nothing_written(
    api: httpx.Client, create_user: CreateUser, database: Database, field: str
) -> None:
    create_user()
    before = users(database)
    for what, value in INVALID[field].items():
        for method, path, body in (
            ("POST", "/users", ADA | {field: value}),
            ("PUT", "/users/1", ADA | {field: value}),
            ("PATCH", "/users/1", {field: value}),
        ):
            response = api.request(method, path, json=body)
            assert response.status_code == 422, what
            errors = [(error["in"], error["field"]) for error in response.json()["errors"]]
            assert errors == [("body", field)], what
            assert field in response.json()["detail"], what
    assert users(database) == before


def test_a_surrogate_pair_is_a_character(api: httpx.Client) -> None:
    body = b'{"name": "\\ud83d\\ude00", "email": "ada@example.org"}'
    response = api.post("/users", content=body, headers=JSON)

    assert response.status_code == 201
    assert response.json()["name"] == "😀"


def test_a_merge_patch_is_json(api: httpx.Client, create_user: CreateUser) -> None:
    user = create_user()
    headers = {"Content-Type": "application/merge-patch+json"}
    response = api.patch("/users/1", content='{"name": "Countess"}', headers=headers)
    assert response.json() == user | {"name": "Countess"}


def test_names_are_stored_in_nfc(api: httpx.Client) -> None:
    body = {"name": "Jose\u0301", "email": "jose@example.org"}
    assert api.post("/users", json=body).json()["name"] == "Jos\u00e9"
    assert api.patch("/users/1", json={"name": "Zoe\u0308"}).json()["name"] == "Zo\u00eb"
    assert api.put("/users/1", json=body).json()["name"] == "Jos\u00e9"
    assert api.get("/users/search?name=Jose%CC%81").json()["data"] == [api.get("/users/1").json()]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ada@example.org", "ada@example.org"),
        ("ada@example.org", "ADA@example.org"),
        ("ada@example.org", "ada@EXAMPLE.ORG"),
        ("j\u00fcrgen@example.org", "ju\u0308rgen@example.org"),
        ("ada@müller.example", "ada@MÜLLER.example"),
        ("ada@xn--mller-kva.example", "ada@müller.example"),
        ("straße@example.org", "STRAẞE@example.org"),
        ("strasse@example.org", "straße@example.org"),
    ],
)
def test_an_address_is_unique_in_any_case(
    api: httpx.Client,
    create_user: CreateUser,
    database: Database,
    cache: Any,
    first: str,
    second: str,
) -> None:
    create_user(email=first)
    create_user(email="other@example.org")
    api.get("/users")
    before, generation = users(database), cache.hgetall("generations")
    for method, path in (("POST", "/users"), ("PUT", "/users/2"), ("PATCH", "/users/2")):
        response = api.request(method, path, json={"name": "Another", "email": second})
        assert response.status_code == 409
        assert response.json()["type"] == "/problems#already-taken"
        assert response.json()["detail"].startswith("email: ")
        for word in ("users_email_key", "duplicate key", "psycopg", "INSERT", first, second):
            assert word not in response.text
    assert users(database) == before
    assert cache.hgetall("generations") == generation
    assert not cache.exists("fences")


def test_addresses_that_differ_by_more_than_case_are_of_two_users(
    create_user: CreateUser, database: Database
) -> None:
    addresses = ["jurgen@example.org", "jürgen@example.org"]
    assert [create_user(email=address)["email"] for address in addresses] == addresses
    assert len(users(database)) == 2


def test_an_id_is_not_used_again_after_a_failed_write(
    api: httpx.Client, create_user: CreateUser
) -> None:
    first = create_user(email="one@example.org")
    api.post("/users", json={"name": "Taken", "email": "one@example.org"})
    assert create_user(email="two@example.org")["id"] > first["id"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_user_may_keep_the_address_in_another_case(
    api: httpx.Client, create_user: CreateUser, method: str
) -> None:
    create_user(email="ada@example.org")
    body = {"name": "Ada", "email": "ADA@example.org"}
    response = api.request(method, "/users/1", json=body)

    assert response.status_code == 200
    assert response.json()["email"] == "ADA@example.org"


def test_a_deleted_users_address_is_free(api: httpx.Client, create_user: CreateUser) -> None:
    first = create_user()
    assert api.delete("/users/1").status_code == 204
    second = create_user()
    assert (second["email"], second["id"]) == (first["email"], 2)


def test_the_documented_query_finds_who_changed_a_user(api_of: ApiOf, database: Database) -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [query] = [sql for sql in blocks(page, "sql") if "audit_log" in sql]
    ada, admin = api_of("admin"), api_of("admin", subject="root")
    ada.post("/users", json=ADA).raise_for_status()
    admin.patch("/users/1", json={"name": "Countess"}).raise_for_status()
    admin.post("/users", json=ADA | {"email": "other@example.org"}).raise_for_status()
    found = [row[1:4] for row in database.execute(query.encode())]
    assert found == [(ISSUER, "root", "update_user"), (ISSUER, "ada", "create_user")]


def test_callers_have_one_user_each_and_write_no_other(api_of: ApiOf) -> None:
    ada, bob = api_of("author"), api_of("author", subject="bob")
    bobs = ADA | {"email": "bob@example.org"}
    for caller, body, created in ((ada, ADA, 201), (bob, bobs, 201), (ada, ADA, 409)):
        assert caller.post("/users", json=body).status_code == created
    for path, changed, deleted in (("/users/2", 403, 403), ("/users/1", 200, 204)):
        assert ada.patch(path, json={"name": "Countess"}).status_code == changed
        assert ada.delete(path).status_code == deleted


def test_the_routes_that_the_readme_shows_are_the_code() -> None:
    (shown,) = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    code = (ROOT / "functions" / "users" / "routes.py").read_text(encoding="utf-8") + "\n\n"
    places = [code.find(f"{part.strip()}\n\n") for part in shown.split("\n\n")]
    assert len(places) >= 5
    assert places == sorted(places)
    assert min(places) > 0
