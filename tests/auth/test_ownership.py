"""An author has one user and that user's posts, by the token's issuer and subject."""

from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import insert, update

from shared.database.models import users
from shared.errors import Forbidden
from shared.request import Access, ApiRequest, Caller
from tests.auth.claims import ISSUER, REQUIRED
from tests.conftest import ApiOf, Worker
from tests.transactions import write

ADA = {"name": "Ada", "email": "ada@example.org"}
BOB = {"name": "Bob", "email": "bob@example.org"}
Database = psycopg.Connection[Any]


def create(api: httpx.Client, path: str, body: dict[str, Any]) -> int:
    response = api.post(path, json=body)
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


def post_of(user: int) -> dict[str, Any]:
    return {"user_id": user, "title": "Notes", "content": "On engines."}


def assert_forbidden(response: httpx.Response, permission: str) -> None:
    assert response.status_code == 403
    assert response.json()["detail"] == (
        f"This needs the permission {permission} for resources that are not your own."
    )
    assert response.headers["www-authenticate"] == (
        f'Bearer realm="users-and-posts", error="insufficient_scope", scope="{permission}"'
    )


def test_an_author_writes_its_own_user_and_posts(api_of: ApiOf) -> None:
    ada = api_of("author")
    user = create(ada, "/users", ADA)
    assert ada.put(f"/users/{user}", json=ADA | {"name": "Countess"}).status_code == 200
    assert ada.patch(f"/users/{user}", json={"name": "Ada"}).json()["name"] == "Ada"
    post = create(ada, "/posts", post_of(user))
    assert ada.put(f"/posts/{post}", json=post_of(user) | {"title": "New"}).status_code == 200
    assert ada.patch(f"/posts/{post}", json={"title": "Newer"}).json()["title"] == "Newer"
    assert ada.patch(f"/posts/{post}", json={"user_id": user}).status_code == 200
    assert ada.delete(f"/posts/{post}").status_code == 204
    assert ada.delete(f"/users/{user}").status_code == 204


@pytest.mark.parametrize("has_user", [False, True])
def test_an_author_changes_nothing_that_is_anothers(
    api_of: ApiOf, database: Database, *, has_user: bool
) -> None:
    ada, bob = api_of("author"), api_of("author", subject="bob")
    user = create(ada, "/users", ADA)
    post = create(ada, "/posts", post_of(user))
    if has_user:
        create(bob, "/users", BOB)
    rows = "SELECT u.*, p.* FROM users u LEFT JOIN posts p ON p.user_id = u.id ORDER BY 1, 5"
    before = database.execute(rows).fetchall()
    user_path, post_path = f"/users/{user}", f"/posts/{post}"
    assert_forbidden(bob.put(user_path, json=BOB | {"email": "new@example.org"}), "users:write")
    assert_forbidden(bob.patch(user_path, json={"name": "Bob"}), "users:write")
    assert_forbidden(bob.delete(user_path), "users:write")
    assert_forbidden(bob.post("/posts", json=post_of(user)), "posts:write")
    assert_forbidden(bob.put(post_path, json=post_of(user)), "posts:write")
    assert_forbidden(bob.patch(post_path, json={"title": "Bob's"}), "posts:write")
    assert_forbidden(bob.delete(post_path), "posts:write")
    assert database.execute(rows).fetchall() == before


def test_an_author_gives_no_post_to_another_and_takes_none(api_of: ApiOf) -> None:
    ada, bob = api_of("author"), api_of("author", subject="bob")
    adas, bobs = create(ada, "/users", ADA), create(bob, "/users", BOB)
    post = create(ada, "/posts", post_of(adas))
    assert_forbidden(ada.patch(f"/posts/{post}", json={"user_id": bobs}), "posts:write")
    assert_forbidden(ada.put(f"/posts/{post}", json=post_of(bobs)), "posts:write")
    assert_forbidden(bob.patch(f"/posts/{post}", json={"user_id": bobs}), "posts:write")
    assert ada.get(f"/posts/{post}").json()["user_id"] == adas


def test_what_does_not_exist_is_404_and_a_post_of_no_user_is_not_ones_own(api_of: ApiOf) -> None:
    ada = api_of("author")
    assert ada.patch("/users/4711", json={"name": "Ada"}).status_code == 404
    assert ada.delete("/users/4711").status_code == 404
    assert ada.patch("/posts/4711", json={"title": "Notes"}).status_code == 404
    assert ada.delete("/posts/4711").status_code == 404
    assert_forbidden(ada.post("/posts", json=post_of(4711)), "posts:write")


def test_an_author_has_one_user_until_it_is_deleted(api_of: ApiOf) -> None:
    ada = api_of("author")
    user = create(ada, "/users", ADA)
    again = ada.post("/users", json=BOB)
    assert again.status_code == 409
    assert again.json()["detail"] == "You have one of your own already."
    assert ada.get("/users").json()["total"] == 1
    ada.delete(f"/users/{user}")
    assert create(ada, "/users", BOB) > user


def test_an_address_that_is_taken_gives_nothing_to_the_next(api_of: ApiOf) -> None:
    """An e-mail address proves nothing: a caller that names another's gets neither."""
    ada, eve = api_of("author"), api_of("author", subject="eve", email=ADA["email"])
    user = create(ada, "/users", ADA)
    assert eve.post("/users", json=ADA).status_code == 409
    assert eve.delete(f"/users/{user}").status_code == 403
    assert create(eve, "/users", BOB) != user


@pytest.mark.parametrize("other", ["https://a.example.org/", "https://z.example.org/"])
def test_a_subject_of_another_issuer_is_another_caller(
    api_of: ApiOf, worker: Worker, other: str
) -> None:
    user = create(api_of("author"), "/users", ADA)
    worker.restart(**REQUIRED | {"TOKEN_ISSUER": other})
    assert_forbidden(api_of("author", iss=other).delete(f"/users/{user}"), "users:write")


def test_an_admin_writes_everything_and_owns_nothing(api_of: ApiOf, database: Database) -> None:
    ada, admin = api_of("author"), api_of("admin", "author", subject="root")
    user = create(ada, "/users", ADA)
    bob, eve = create(admin, "/users", BOB), create(admin, "/users", BOB | {"email": "e@e.org"})
    post = create(admin, "/posts", post_of(user))
    assert admin.patch(f"/posts/{post}", json={"user_id": bob}).status_code == 200
    assert admin.post("/posts", json=post_of(4711)).status_code == 400
    assert admin.delete(f"/users/{eve}").status_code == 204
    assert admin.delete(f"/users/{user}").status_code == 204
    assert database.execute("SELECT count(*) FROM identities").fetchone() == (0,)


def test_users_of_other_times_belong_to_admins(api_of: ApiOf, database: Database) -> None:
    database.execute("INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')")
    assert_forbidden(api_of("author").delete("/users/1"), "users:write")


def test_an_update_of_nothing_is_granted_as_any_other(api_of: ApiOf, database: Database) -> None:
    ada, bob, root = api_of("author"), api_of("author", subject="bob"), api_of("admin")
    user = create(ada, "/users", ADA)
    post = create(ada, "/posts", post_of(user))
    for path, permission in ((f"/users/{user}", "users:write"), (f"/posts/{post}", "posts:write")):
        known = ada.get(path)
        for may in (ada, root):
            response = may.patch(path, json={})
            assert response.status_code == 200
            assert response.json() == known.json()
            assert response.headers["etag"] == known.headers["etag"]
            assert may.patch(path, json={}, headers={"If-Match": '"1-0"'}).status_code == 412
        assert_forbidden(bob.patch(path, json={}), permission)
        assert_forbidden(bob.patch(path, json={}, headers={"If-Match": '"1-0"'}), permission)
        assert api_of("reader", subject="bob").patch(path, json={}).status_code == 403
        assert ada.get(path).headers["etag"] == known.headers["etag"]
    create(bob, "/users", BOB)
    assert_forbidden(bob.patch(f"/users/{user}", json={}), "users:write")
    assert bob.patch("/users/4711", json={}).status_code == 404
    assert bob.patch("/posts/4711", json={}).status_code == 404


def test_a_write_that_checks_no_owner_is_not_for_callers_who_may_write_only_their_own(
    worker: Worker, database: Database
) -> None:
    database.execute("INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')")

    async def rename(*, own_only: bool) -> None:
        caller = Caller(ISSUER, "ada", frozenset({"author"}))
        request = ApiRequest(access=Access("update_user", "users:write", caller, own_only))
        statement = update(users).values(name="Eve").returning(users.c.id)
        await write(lambda block: block.change(statement), request=request)

    names = "SELECT name FROM users"
    with pytest.raises(Forbidden):
        worker.run(rename(own_only=True))
    assert database.execute(names).fetchone() == ("Ada",)
    worker.run(rename(own_only=False))
    assert database.execute(names).fetchone() == ("Eve",)


def test_no_transaction_begins_for_a_request_that_nothing_has_authorized(
    worker: Worker, database: Database
) -> None:
    statement = insert(users).values(name="Eve", email="eve@example.org").returning(users.c.id)
    with pytest.raises(LookupError, match="not authorized"):
        worker.run(write(lambda block: block.insert(statement), request=ApiRequest()))
    assert database.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_a_key_belongs_to_its_caller(api_of: ApiOf, database: Database) -> None:
    ada, bob = api_of("author"), api_of("author", subject="bob")
    key = {"Idempotency-Key": "key-1"}
    first = ada.post("/users", json=ADA, headers=key)
    assert first.status_code == 201
    assert bob.post("/users", json=ADA, headers=key).status_code == 409  # the address is taken
    assert bob.post("/users", json=BOB, headers=key).json()["name"] == "Bob"
    assert ada.post("/users", json=ADA, headers=key).json() == first.json()
    assert ada.post("/users", json=BOB, headers=key).status_code == 422
    keys = database.execute("SELECT subject, resource_id FROM idempotency_keys ORDER BY 1")
    assert keys.fetchall() == [("ada", 1), ("bob", 3)]


def test_a_key_of_another_issuers_subject_is_another_key(api_of: ApiOf, worker: Worker) -> None:
    key = {"Idempotency-Key": "key-1"}
    assert api_of("author").post("/users", json=ADA, headers=key).status_code == 201
    other = "https://other.example.org/"
    worker.restart(**REQUIRED | {"TOKEN_ISSUER": other})
    response = api_of("author", iss=other).post("/users", json=BOB, headers=key)
    assert (response.status_code, response.json().get("name")) == (201, "Bob")


def test_callers_with_the_same_key_do_not_wait_for_each_other(
    api_of: ApiOf, database: Database
) -> None:
    """The lock of Ada's key is held by a request in progress."""
    lock = f"/users key-1 {REQUIRED['TOKEN_ISSUER']} ada"
    with database.transaction():
        database.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s::text, 0))", [lock])
        key = {"Idempotency-Key": "key-1"}
        assert api_of("author").post("/users", json=ADA, headers=key).status_code == 409
        assert api_of("author", subject="bob").post("/users", json=BOB, headers=key).is_success
