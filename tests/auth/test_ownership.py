"""An author has one writer and that writer's articles, by the token's issuer and subject."""

from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import update

from shared.database import Transaction
from shared.errors import Forbidden
from shared.request import Access, ApiRequest, Caller
from tests.auth.claims import ISSUER, REQUIRED
from tests.conftest import ApiOf, Worker
from tests.example.models import writers
from tests.transactions import write

ADA = {"name": "Ada", "email": "ada@example.org"}
BOB = {"name": "Bob", "email": "bob@example.org"}
Database = psycopg.Connection[Any]

pytestmark = pytest.mark.usefixtures("owners")


def create(api: httpx.Client, path: str, body: dict[str, Any]) -> int:
    response = api.post(path, json=body)
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


def notes_of(writer: int) -> dict[str, Any]:
    return {"writer_id": writer, "title": "Notes", "content": "On engines."}


def assert_forbidden(response: httpx.Response, permission: str) -> None:
    assert response.status_code == 403
    assert response.json()["detail"] == (
        f"This needs the permission {permission} for resources that are not your own."
    )
    assert response.headers["www-authenticate"] == (
        f'Bearer realm="users-and-posts", error="insufficient_scope", scope="{permission}"'
    )


def test_an_author_writes_its_own_writer_and_articles(api_of: ApiOf) -> None:
    ada = api_of("author")
    writer = create(ada, "/writers", ADA)
    assert ada.put(f"/writers/{writer}", json=ADA | {"name": "Countess"}).status_code == 200
    assert ada.patch(f"/writers/{writer}", json={"name": "Ada"}).json()["name"] == "Ada"
    article = create(ada, "/articles", notes_of(writer))
    replaced = ada.put(f"/articles/{article}", json=notes_of(writer) | {"title": "New"})
    assert replaced.status_code == 200
    assert ada.patch(f"/articles/{article}", json={"title": "Newer"}).json()["title"] == "Newer"
    assert ada.patch(f"/articles/{article}", json={"writer_id": writer}).status_code == 200
    assert ada.delete(f"/articles/{article}").status_code == 204
    assert ada.delete(f"/writers/{writer}").status_code == 204


@pytest.mark.parametrize("has_writer", [False, True])
def test_an_author_changes_nothing_that_is_anothers(
    api_of: ApiOf, database: Database, *, has_writer: bool
) -> None:
    ada, bob = api_of("author"), api_of("author", subject="bob")
    writer = create(ada, "/writers", ADA)
    article = create(ada, "/articles", notes_of(writer))
    if has_writer:
        create(bob, "/writers", BOB)
    rows = "SELECT * FROM writers w LEFT JOIN articles a ON writer_id = w.id ORDER BY 1, 5"
    before = database.execute(rows).fetchall()
    writer_path, article_path = f"/writers/{writer}", f"/articles/{article}"
    assert_forbidden(bob.put(writer_path, json=BOB | {"email": "new@example.org"}), "writers:write")
    assert_forbidden(bob.patch(writer_path, json={"name": "Bob"}), "writers:write")
    assert_forbidden(bob.delete(writer_path), "writers:write")
    assert_forbidden(bob.post("/articles", json=notes_of(writer)), "articles:write")
    assert_forbidden(bob.put(article_path, json=notes_of(writer)), "articles:write")
    assert_forbidden(bob.patch(article_path, json={"title": "Bob's"}), "articles:write")
    assert_forbidden(bob.delete(article_path), "articles:write")
    assert database.execute(rows).fetchall() == before


def test_an_author_gives_no_article_to_another_and_takes_none(api_of: ApiOf) -> None:
    ada, bob = api_of("author"), api_of("author", subject="bob")
    adas, bobs = create(ada, "/writers", ADA), create(bob, "/writers", BOB)
    article = create(ada, "/articles", notes_of(adas))
    assert_forbidden(ada.patch(f"/articles/{article}", json={"writer_id": bobs}), "articles:write")
    assert_forbidden(ada.put(f"/articles/{article}", json=notes_of(bobs)), "articles:write")
    assert_forbidden(bob.patch(f"/articles/{article}", json={"writer_id": bobs}), "articles:write")
    assert ada.get(f"/articles/{article}").json()["writer_id"] == adas


def test_an_unknown_row_is_404_and_an_article_of_an_unknown_writer_403(api_of: ApiOf) -> None:
    ada = api_of("author")
    assert ada.patch("/writers/4711", json={"name": "Ada"}).status_code == 404
    assert ada.delete("/writers/4711").status_code == 404
    assert ada.patch("/articles/4711", json={"title": "Notes"}).status_code == 404
    assert ada.delete("/articles/4711").status_code == 404
    assert_forbidden(ada.post("/articles", json=notes_of(4711)), "articles:write")


def test_an_author_has_one_writer_until_it_is_deleted(api_of: ApiOf) -> None:
    ada = api_of("author")
    writer = create(ada, "/writers", ADA)
    again = ada.post("/writers", json=BOB)
    assert again.status_code == 409
    assert again.json()["detail"] == "You have one of your own already."
    assert ada.get("/writers").json()["total"] == 1
    ada.delete(f"/writers/{writer}")
    assert create(ada, "/writers", BOB) > writer


def test_a_duplicate_address_gives_no_access_to_its_writer(api_of: ApiOf) -> None:
    """An e-mail address proves nothing: a caller that names another's gets neither."""
    ada, eve = api_of("author"), api_of("author", subject="eve", email=ADA["email"])
    writer = create(ada, "/writers", ADA)
    assert eve.post("/writers", json=ADA).status_code == 409
    assert eve.delete(f"/writers/{writer}").status_code == 403
    assert create(eve, "/writers", BOB) != writer


@pytest.mark.parametrize("other", ["https://a.example.org/", "https://z.example.org/"])
def test_a_subject_of_another_issuer_is_another_caller(
    api_of: ApiOf, worker: Worker, other: str
) -> None:
    writer = create(api_of("author"), "/writers", ADA)
    worker.restart(**REQUIRED | {"TOKEN_ISSUER": other})
    assert_forbidden(api_of("author", iss=other).delete(f"/writers/{writer}"), "writers:write")


def test_an_admin_writes_everything_and_owns_nothing(api_of: ApiOf, database: Database) -> None:
    ada, admin = api_of("author"), api_of("admin", "author", subject="root")
    writer = create(ada, "/writers", ADA)
    bob, eve = create(admin, "/writers", BOB), create(admin, "/writers", BOB | {"email": "e@e.org"})
    article = create(admin, "/articles", notes_of(writer))
    assert admin.patch(f"/articles/{article}", json={"writer_id": bob}).status_code == 200
    assert admin.post("/articles", json=notes_of(4711)).status_code == 400
    assert admin.delete(f"/writers/{eve}").status_code == 204
    assert admin.delete(f"/writers/{writer}").status_code == 204
    assert database.execute("SELECT count(*) FROM identities").fetchone() == (0,)


def test_writers_of_other_times_belong_to_admins(api_of: ApiOf, database: Database) -> None:
    database.execute("INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org')")
    assert_forbidden(api_of("author").delete("/writers/1"), "writers:write")


def test_an_update_of_nothing_is_granted_as_any_other(api_of: ApiOf, database: Database) -> None:
    ada, bob, root = api_of("author"), api_of("author", subject="bob"), api_of("admin")
    writer = create(ada, "/writers", ADA)
    article = create(ada, "/articles", notes_of(writer))
    for resource, key in (("writers", writer), ("articles", article)):
        path, permission = f"/{resource}/{key}", f"{resource}:write"
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
    create(bob, "/writers", BOB)
    assert_forbidden(bob.patch(f"/writers/{writer}", json={}), "writers:write")
    assert bob.patch("/writers/4711", json={}).status_code == 404
    assert bob.patch("/articles/4711", json={}).status_code == 404


def test_a_write_without_an_owner_check_is_forbidden_to_callers_with_own_rows_only(
    worker: Worker, database: Database
) -> None:
    database.execute("INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org')")

    async def rename(*, own_only: bool) -> None:
        caller = Caller(ISSUER, "ada", frozenset({"author"}))
        request = ApiRequest(access=Access("update_writer", "writers:write", caller, own_only))
        statement = update(writers).values(name="Eve").returning(writers.c.id)
        await write(lambda block: block.change(statement), request=request)

    names = "SELECT name FROM writers"
    with pytest.raises(Forbidden):
        worker.run(rename(own_only=True))
    assert database.execute(names).fetchone() == ("Ada",)
    worker.run(rename(own_only=False))
    assert database.execute(names).fetchone() == ("Eve",)


def test_no_transaction_begins_for_a_request_that_nothing_has_authorized(worker: Worker) -> None:
    async def begin(_block: Transaction) -> None:
        """Runs no statement: each would check the access itself."""

    with pytest.raises(LookupError, match="not authorized"):
        worker.run(write(begin, request=ApiRequest()))


def test_a_key_belongs_to_its_caller(api_of: ApiOf, database: Database) -> None:
    ada, bob = api_of("author"), api_of("author", subject="bob")
    key = {"Idempotency-Key": "key-1"}
    first = ada.post("/writers", json=ADA, headers=key)
    assert first.status_code == 201
    assert bob.post("/writers", json=ADA, headers=key).status_code == 409  # the address is taken
    assert bob.post("/writers", json=BOB, headers=key).json()["name"] == "Bob"
    assert ada.post("/writers", json=ADA, headers=key).json() == first.json()
    assert ada.post("/writers", json=BOB, headers=key).status_code == 422
    keys = database.execute("SELECT subject, resource_id FROM idempotency_keys ORDER BY 1")
    assert keys.fetchall() == [("ada", 1), ("bob", 3)]


def test_a_key_of_another_issuers_subject_is_another_key(api_of: ApiOf, worker: Worker) -> None:
    key = {"Idempotency-Key": "key-1"}
    assert api_of("author").post("/writers", json=ADA, headers=key).status_code == 201
    other = "https://other.example.org/"
    worker.restart(**REQUIRED | {"TOKEN_ISSUER": other})
    response = api_of("author", iss=other).post("/writers", json=BOB, headers=key)
    assert (response.status_code, response.json().get("name")) == (201, "Bob")


def test_callers_with_the_same_key_do_not_wait_for_each_other(
    api_of: ApiOf, database: Database
) -> None:
    """The lock of Ada's key is held by a request in progress."""
    lock = f"/writers key-1 {REQUIRED['TOKEN_ISSUER']} ada"
    with database.transaction():
        database.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s::text, 0))", [lock])
        key = {"Idempotency-Key": "key-1"}
        assert api_of("author").post("/writers", json=ADA, headers=key).status_code == 409
        assert api_of("author", subject="bob").post("/writers", json=BOB, headers=key).is_success
