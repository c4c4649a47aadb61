"""The kinds of operations, on a small resource of their own: notes, each of a user."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import httpx
import psycopg
import pytest
import uvicorn
from fastapi import Depends, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from local.generate.http_semantics import add_http_semantics
from shared import database
from shared.auth import permissions
from shared.auth.permissions import ALL as GRANTED
from shared.auth.permissions import OWN
from shared.cache.fences import Fences
from shared.database.links import Link
from shared.database.models import METADATA
from shared.database.ownership import OWN_USER_ID, is_own
from shared.database.paged_query import PagedQuery
from shared.database.versions import meets_conditions, version
from shared.http.application import create_app, lambda_handler
from shared.http.fields import Id
from shared.http.middleware import RequestMiddleware
from shared.http.pagination import OffsetPage, PageParameters
from shared.http.resource import PageResult, Reader, Resource, Row, Transaction
from shared.http.route import PERMISSION
from shared.process import reset
from shared.request import SCOPE_KEY, ApiRequest, request_of
from tests.auth.claims import AUDIENCE, ISSUER, REQUIRED, claims_of
from tests.conftest import Worker
from tests.example.models import writers
from tests.in_process import client_of

TABLES = MetaData(naming_convention=METADATA.naming_convention)
WRITERS = writers.to_metadata(TABLES)
notes = Table(
    "made_notes",
    TABLES,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", BigInteger, ForeignKey("writers.id", ondelete="CASCADE"), nullable=False),
    Column("line", Text),
    Column("done", Boolean, nullable=False, server_default="false"),
)
pins = Table(
    "made_pins",
    TABLES,
    Column(
        "note_id", BigInteger, ForeignKey("made_notes.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("user_id", BigInteger, ForeignKey("writers.id", ondelete="CASCADE"), primary_key=True),
)
"""A link table, without an id of its own."""
COLUMNS = (notes.c.id, notes.c.user_id, notes.c.line, notes.c.done)
VERSIONED = (*COLUMNS, version(notes))
NOTE_ID = bindparam("note_id", type_=BigInteger)
WRITABLE = and_(notes.c.id == NOTE_ID, is_own(notes.c.user_id), meets_conditions(notes))
UPDATE = update(notes).where(WRITABLE).returning(*VERSIONED)
DONE = UPDATE.values(done=True)
UNGUARDED = update(notes).where(notes.c.id == NOTE_ID).values(done=True).returning(*VERSIONED)
TAKE = update(notes).where(notes.c.id == NOTE_ID).values(user_id=OWN_USER_ID).returning(*VERSIONED)
GIVE = UPDATE.values(user_id=bindparam("receiver", type_=BigInteger))
INSERT = insert(notes).returning(*VERSIONED)
FIND = select(*VERSIONED).where(notes.c.id == NOTE_ID)
ALL = PagedQuery(select(*COLUMNS), notes.c.id, counted=True)
WITH_PINS = PagedQuery(
    select(*COLUMNS).outerjoin(pins, pins.c.note_id == notes.c.id).group_by(notes.c.id),
    notes.c.id,
    counted=True,
)
SHOWING_MINE = PagedQuery(
    select(*COLUMNS, (notes.c.user_id == OWN_USER_ID).label("is_mine")), notes.c.id, counted=True
)
VISIBLE = PagedQuery(select(*COLUMNS).where(is_own(notes.c.user_id)), notes.c.id, counted=True)
BY_DONE = {
    done: PagedQuery(select(*COLUMNS).where(notes.c.done.is_(done)), notes.c.id, counted=True)
    for done in (False, True)
}
BY_LINE = PagedQuery(
    select(*COLUMNS).where(notes.c.line == bindparam("line")), notes.c.id, counted=True
)
FIRST = PagedQuery(select(*COLUMNS).where(notes.c.id == 1), notes.c.id, counted=True)
RENAME = (
    update(WRITERS)
    .where(WRITERS.c.id == bindparam("writer_id", type_=BigInteger))
    .values(name="Renamed")
    .returning(WRITERS.c.name, WRITERS.c.id)
)
MINE = PagedQuery(select(*COLUMNS).where(notes.c.user_id == OWN_USER_ID), notes.c.id, counted=True)
PINS = Link(pins, owner=pins.c.user_id)
MARKS = Link(pins, owner=notes.c.user_id)
PINNED_BY = PagedQuery(
    select(pins.c.user_id, WRITERS.c.name)
    .join(WRITERS)
    .where(pins.c.note_id == bindparam("note_id")),
    pins.c.user_id,
    counted=True,
)
DELETE_OF_USER = (
    delete(notes)
    .where(notes.c.user_id == bindparam("user_id"), is_own(notes.c.user_id))
    .returning(notes.c.id)
)
ROWS = f"""
CREATE TABLE made_notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES writers ON DELETE CASCADE, line text,
    done boolean NOT NULL DEFAULT false);
CREATE TABLE made_pins (note_id bigint REFERENCES made_notes ON DELETE CASCADE,
    user_id bigint REFERENCES writers ON DELETE CASCADE, PRIMARY KEY (note_id, user_id));
INSERT INTO writers (name, email) VALUES ('Ada', 'ada@example.org'), ('Bob', 'bob@example.org');
INSERT INTO identities (issuer, subject, user_id) VALUES ('{ISSUER}', 'ada', 1), ('{ISSUER}', 'bob', 2);
INSERT INTO made_notes (user_id, line) VALUES (1, 'of Ada'), (2, 'of Bob');
"""  # noqa: E501


class NoteUpdate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    line: str | None = None


class NotePublic(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: Id
    user_id: Id
    line: str | None
    done: bool


class NotePage(OffsetPage[NotePublic]):
    """A page of notes."""


class Pin(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    user_id: Id
    name: str


class PinPage(OffsetPage[Pin]):
    """A page of the writers who have pinned a note."""


class LockedNote(NoteUpdate):
    password: SecretStr
    hint: str = Field("", exclude=True)
    places: set[int] = set()
    labels: dict[str, str] = {}


resource = Resource("notes", "note", NotePublic)


@resource.create(permission="notes:write")
async def create_note(transaction: Transaction, body: NoteUpdate) -> Row:
    return await transaction.insert(INSERT, {"user_id": 1, "line": body.line})


@resource.create("/any", permission="notes:write", idempotent=False)
async def create_any_note(transaction: Transaction, body: NoteUpdate) -> Row:
    return await transaction.insert(INSERT, {"user_id": 1, "line": body.line})


@resource.create("/copies", permission="notes:write")
async def copy_note(transaction: Transaction, body: NoteUpdate) -> Row:
    return await transaction.insert(INSERT, {"user_id": 1, "line": body.line})


@resource.create("/locked", permission="notes:write")
async def create_locked_note(transaction: Transaction, body: LockedNote) -> Row:
    return await transaction.insert(INSERT, {"user_id": 1, "line": body.line})


@resource.create(below="/writers/{user_id:id}", permission="notes:write")
async def create_note_of_writer(transaction: Transaction, user_id: Id, body: NoteUpdate) -> Row:
    return await transaction.insert(INSERT, {"user_id": user_id, "line": body.line})


@resource.list(NotePage, cached=True)
async def list_notes(reader: Reader, query: PageParameters) -> PageResult:
    return await ALL.fetch(reader, query.position, query.limit)


@resource.list(NotePage, "/mine", cached=True, private=True)
async def list_my_notes(reader: Reader, query: PageParameters) -> PageResult:
    return await MINE.fetch(reader, query.position, query.limit)


@resource.list(NotePage, "/mine/shared", cached=True)
async def list_my_notes_carelessly(reader: Reader, query: PageParameters) -> PageResult:
    return await MINE.fetch(reader, query.position, query.limit)


@resource.list(NotePage, "/peek", cached=True, permission="notes:peek")
async def peek_at_notes(reader: Reader, query: PageParameters) -> PageResult:
    return await ALL.fetch(reader, query.position, query.limit)


@resource.list(NotePage, "/peek/mine", cached=True, permission="notes:peek")
async def peek_at_my_notes(reader: Reader, query: PageParameters) -> PageResult:
    return await MINE.fetch(reader, query.position, query.limit)


@resource.list(NotePage, "/peek/all", cached=True, permission="notes:peek")
async def peek_at_whose_notes_are_mine(reader: Reader, query: PageParameters) -> PageResult:
    return await SHOWING_MINE.fetch(reader, query.position, query.limit)


@resource.list(NotePage, "/visible", cached=True, private=True, permission="notes:peek")
async def list_visible_notes(reader: Reader, query: PageParameters) -> PageResult:
    return await VISIBLE.fetch(reader, query.position, query.limit)


@resource.list(NotePage, cached=True, below="/shelves/{shelf_id:id}/open")
async def list_open_notes(reader: Reader, shelf_id: Id, query: PageParameters) -> PageResult:
    return await BY_DONE[False].fetch(reader, query.position, query.limit)


@resource.list(NotePage, cached=True, below="/shelves/{shelf_id:id}/done")
async def list_done_notes(reader: Reader, shelf_id: Id, query: PageParameters) -> PageResult:
    return await BY_DONE[True].fetch(reader, query.position, query.limit)


@resource.list(NotePage, "/by/role", cached=True)
async def list_notes_by_role(reader: Reader, query: PageParameters) -> PageResult:
    caller = reader.access.caller
    listing = ALL if caller and "admin" in caller.roles else FIRST
    return await listing.fetch(reader, query.position, query.limit)


class LineParameters(PageParameters):
    line: str | None = None


@resource.list(NotePage, "/by/line", cached=True)
async def list_notes_by_line(reader: Reader, query: LineParameters) -> PageResult:
    listing = ALL if query.line is None else BY_LINE
    return await listing.fetch(reader, query.position, query.limit, {"line": query.line})


class Filter:
    """A dependency whose objects have no text that a key could have."""


@resource.list(NotePage, "/by/dependency", cached=True)
async def list_notes_by_dependency(
    reader: Reader, query: PageParameters, _filter: Annotated[Filter, Depends()]
) -> PageResult:
    return await ALL.fetch(reader, query.position, query.limit)


class SecretParameters(PageParameters):
    line: SecretStr | None = None


@resource.list(NotePage, "/by/secret", cached=True)
async def list_notes_by_secret(reader: Reader, query: SecretParameters) -> PageResult:
    return await ALL.fetch(reader, query.position, query.limit)


@resource.list(NotePage, "/with/pins", cached=True)
async def list_notes_with_pins(reader: Reader, query: PageParameters) -> PageResult:
    return await WITH_PINS.fetch(reader, query.position, query.limit)


@resource.read()
async def get_note(reader: Reader, note_id: Id) -> Row:
    return await reader.find(FIND, {"note_id": note_id})


@resource.update()
async def update_note(transaction: Transaction, note_id: Id, body: NoteUpdate) -> Row:
    return await transaction.change(
        UPDATE, {"note_id": note_id, **body.model_dump(exclude_unset=True)}
    )


@resource.action("/finish", permission="chores:write")
async def finish_note(transaction: Transaction, note_id: Id) -> Row:
    return await transaction.change(DONE, {"note_id": note_id})


@resource.action("/finish-twice")
async def finish_note_twice(transaction: Transaction, note_id: Id) -> Row:
    await transaction.change(DONE, {"note_id": note_id})
    return await transaction.change(DONE, {"note_id": note_id})


@resource.action("/take")
async def take_note(transaction: Transaction, note_id: Id) -> Row:
    return await transaction.change(TAKE, {"note_id": note_id})


@resource.action("/give/{receiver:id}")
async def give_note(transaction: Transaction, note_id: Id, receiver: Id) -> Row:
    return await transaction.change(GIVE, {"note_id": note_id, "receiver": receiver})


@resource.action("/give-away/{receiver:id}")
async def give_note_away(transaction: Transaction, note_id: Id, receiver: Id) -> Row:
    given = {"note_id": note_id, "receiver": receiver}
    return await transaction.change(GIVE, given, any_owner=True)


@resource.action("/finish-any")
async def finish_any_note(transaction: Transaction, note_id: Id) -> Row:
    return await transaction.change(UNGUARDED, {"note_id": note_id})


@resource.action("/finish-all")
async def finish_all_notes(transaction: Transaction, note_id: Id) -> Row:
    await transaction.execute(update(notes).values(done=True))
    return await transaction.change(DONE, {"note_id": note_id})


@resource.action("/give-all/{receiver:id}")
async def give_all_notes(transaction: Transaction, note_id: Id, receiver: Id) -> Row:
    await transaction.execute(GIVE, {"note_id": note_id, "receiver": receiver})
    return await transaction.change(DONE, {"note_id": note_id})


@resource.action("/look-up")
async def look_up_note(transaction: Transaction, note_id: Id) -> Row:
    return (await transaction.look_up(FIND, {"note_id": note_id})).one()


@resource.action("/look-up-any")
async def look_up_any_note(transaction: Transaction, note_id: Id) -> Row:
    return (await transaction.look_up(FIND, {"note_id": note_id}, any_owner=True)).one()


@resource.action("/rename-writer")
async def rename_writer_of_note(transaction: Transaction, note_id: Id) -> Row:
    row = await transaction.change(DONE, {"note_id": note_id})
    await transaction.change(RENAME, {"writer_id": row.user_id})
    return row


@resource.router.get("/notes/words", tags=["words"], openapi_extra={PERMISSION: "notes:read"})
async def count_words(http: Request) -> dict[str, int]:
    """A plain route beside the kinds: it runs its query itself, and is not cached."""

    async def query(reader: database.Reader) -> int:
        lines = (await reader.execute(select(notes.c.line))).scalars()
        return sum(len((line or "").split()) for line in lines)

    return {"words": await database.read(request_of(http.scope), query)}


@resource.router.delete(
    "/notes/of/{user_id:id}", status_code=204, openapi_extra={PERMISSION: "notes:write"}
)
async def delete_notes_of_user(http: Request, user_id: Id) -> Response:
    """A plain write beside the kinds: it makes its transaction itself, and its response in it."""
    request = request_of(http.scope)
    async with database.transaction(request, Fences(request)) as transaction:
        await transaction.execute(DELETE_OF_USER, {"user_id": user_id})
        return Response(status_code=204)


@resource.link("/pins/{user_id:id}")
async def pin_note(transaction: Transaction, note_id: Id, user_id: Id) -> None:
    await PINS.insert(transaction, note_id, user_id)


@resource.unlink("/pins/{user_id:id}")
async def unpin_note(transaction: Transaction, note_id: Id, user_id: Id) -> None:
    await PINS.delete(transaction, note_id, user_id)


@resource.link("/marks/{user_id:id}")
async def mark_note(transaction: Transaction, note_id: Id, user_id: Id) -> None:
    await MARKS.insert(transaction, note_id, user_id)


@resource.unlink("/marks/{user_id:id}")
async def unmark_note(transaction: Transaction, note_id: Id, user_id: Id) -> None:
    await MARKS.delete(transaction, note_id, user_id)


@resource.list(PinPage, "/{note_id:id}/pins", cached=True)
async def list_pins(reader: Reader, note_id: Id, query: PageParameters) -> PageResult:
    return await PINNED_BY.fetch(reader, query.position, query.limit, {"note_id": note_id})


# The paths of two parts are before the item's, whose pattern takes only digits.
APP = create_app(resource.router)
ApiAs = Callable[..., httpx.Client]


@pytest.fixture
def tables(
    database: psycopg.Connection[Any], owners: None, cache: object
) -> Iterator[psycopg.Connection[Any]]:
    database.execute(ROWS.encode())
    yield database
    database.execute("DROP TABLE made_pins, made_notes")


@pytest.fixture
def api_as(worker: Worker, tables: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiAs]:
    """Returns the API for a caller; `peek` is granted to authors for what is their own."""
    monkeypatch.setitem(permissions.ROLES["author"], "peek", OWN)
    monkeypatch.setitem(permissions.ROLES["admin"], "peek", GRANTED)
    worker.restart(**REQUIRED)
    clients: list[httpx.Client] = []

    def api_as(subject: str, role: str = "author") -> httpx.Client:
        claims = claims_of(role, subject=subject)
        clients.append(client_of(handler=lambda_handler(APP), claims=claims))
        return clients[-1]

    yield api_as
    for client in clients:
        client.close()


def done(tables: psycopg.Connection[Any]) -> list[bool]:
    return [row[0] for row in tables.execute("SELECT done FROM made_notes ORDER BY id").fetchall()]


def lines(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [note["line"] for note in response.json()["data"]]


@pytest.mark.parametrize("path", ["/notes/1/finish-any", "/notes/1/finish-all"])
def test_a_write_without_an_owner_check_is_denied_to_callers_with_own_rows_only(
    api_as: ApiAs, tables: psycopg.Connection[Any], path: str
) -> None:
    assert api_as("ada").post(path).status_code == 403
    assert done(tables) == [False, False]
    assert api_as("root", "admin").post(path).status_code == 200


def test_a_write_that_only_sets_the_owner_is_denied_too(api_as: ApiAs) -> None:
    bob = api_as("bob")
    assert bob.post("/notes/1/take").status_code == 403
    assert bob.get("/notes/1").json()["user_id"] == 1


def test_an_insert_that_does_not_check_the_owner_is_denied_too(
    api_as: ApiAs, tables: psycopg.Connection[Any]
) -> None:
    assert api_as("bob").post("/notes", json={"line": "for Ada"}).status_code == 403
    assert done(tables) == [False, False]


def test_a_read_without_an_owner_check_is_denied_to_callers_with_own_rows_only(
    api_as: ApiAs,
) -> None:
    assert api_as("ada").get("/notes/peek").status_code == 403
    assert api_as("ada").get("/notes/peek/all").status_code == 403
    assert lines(api_as("ada").get("/notes/peek/mine")) == ["of Ada"]


def test_a_look_up_within_a_write_checks_the_owner_unless_it_says_otherwise(api_as: ApiAs) -> None:
    bob = api_as("bob")
    assert bob.post("/notes/1/look-up").status_code == 403
    assert bob.post("/notes/1/look-up-any").json()["line"] == "of Ada"
    assert api_as("root", "admin").post("/notes/1/look-up").status_code == 200


def test_a_row_cannot_become_anothers_unless_the_statement_allows_it(api_as: ApiAs) -> None:
    ada = api_as("ada")
    assert ada.post("/notes/1/give/2").status_code == 403
    assert ada.post("/notes/1/give-all/2").status_code == 403
    assert ada.get("/notes/1").json()["user_id"] == 1
    assert api_as("root", "admin").post("/notes/2/give/1").json()["user_id"] == 1
    assert ada.post("/notes/1/give-away/2").json()["user_id"] == 2
    assert ada.post("/notes/1/give-away/1").status_code == 403


def test_a_key_that_would_not_make_a_post_idempotent_is_rejected(api_as: ApiAs) -> None:
    root, key = api_as("root", "admin"), {"Idempotency-Key": "one"}
    rejected = root.post("/notes/1/finish", headers=key)
    assert rejected.status_code == 422
    assert rejected.json()["errors"][0]["field"] == "Idempotency-Key"
    assert root.get("/notes/1").json()["line"] == "of Ada"
    assert root.patch("/notes/1", json={"line": "new"}, headers=key).status_code == 200


def test_a_write_of_a_row_that_the_caller_may_not_read_is_404(
    api_as: ApiAs, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = api_as("bob")
    assert bob.post("/notes/1/finish").status_code == 403
    for role in permissions.ROLES:
        monkeypatch.setitem(permissions.ROLES[role], "notes:read", OWN)
    hidden = bob.post("/notes/1/finish")
    assert hidden.status_code == 404
    assert hidden.json()["detail"] == "There is no note with this id."
    assert bob.post("/notes/2/finish").status_code == 200


def test_a_key_belongs_to_one_operation(api_as: ApiAs) -> None:
    root, key = api_as("root", "admin"), {"Idempotency-Key": "one"}
    assert root.post("/notes", json={}, headers=key).status_code == 201
    assert root.post("/notes", json={}, headers=key).status_code == 201
    assert root.post("/notes/copies", json={}, headers=key).status_code == 422


LOCKED = {"password": "one", "hint": "a", "places": [0, 8], "labels": {"a": "1", "b": "2"}}


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({"password": "two"}, True),
        ({"hint": "b"}, False),
        ({"labels": {"a": "2", "b": "1"}}, False),
        ({"places": [8, 0], "labels": {"b": "2", "a": "1"}}, True),
    ],
    ids=["a secret", "an excluded field", "members", "orders"],
)
def test_a_key_is_that_of_a_body_in_any_order_with_all_but_its_secrets(
    api_as: ApiAs, other: dict[str, Any], is_same: bool
) -> None:
    root, key = api_as("root", "admin"), {"Idempotency-Key": "one"}
    assert root.post("/notes/locked", json=LOCKED, headers=key).status_code == 201
    again = root.post("/notes/locked", json=LOCKED | other, headers=key)
    assert again.status_code == (201 if is_same else 422)


def test_an_item_that_is_created_below_another_refers_to_it(api_as: ApiAs) -> None:
    root, key = api_as("root", "admin"), {"Idempotency-Key": "one"}
    created = root.post("/writers/2/notes", json={"line": "new"}, headers=key)
    assert (created.status_code, created.headers["location"]) == (201, "/notes/3")
    assert created.json()["user_id"] == 2
    assert root.post("/writers/1/notes", json={"line": "new"}, headers=key).status_code == 422
    unknown = root.post("/writers/99/notes", json={"line": "new"})
    assert unknown.status_code == 404
    assert unknown.json()["detail"] == "user_id: there is no such user."


def test_lists_below_other_items_have_pages_of_their_own(
    api_as: ApiAs, tables: psycopg.Connection[Any]
) -> None:
    tables.execute("UPDATE made_notes SET done = true WHERE id = 2")
    for _ in range(2):
        assert lines(api_as("ada").get("/shelves/1/open/notes")) == ["of Ada"]
        assert lines(api_as("ada").get("/shelves/1/done/notes")) == ["of Bob"]


def test_a_filter_by_any_text_has_pages_of_its_own(api_as: ApiAs) -> None:
    root = api_as("root", "admin")
    assert lines(root.get("/notes/by/line")) == ["of Ada", "of Bob"]
    assert lines(root.get("/notes/by/line?line=all")) == []
    assert lines(root.get("/notes/by/line?line=of Ada")) == ["of Ada"]


def test_a_private_page_is_shared_with_no_other_role_of_its_caller(api_as: ApiAs) -> None:
    for _ in range(2):
        assert lines(api_as("ada", "admin").get("/notes/visible")) == ["of Ada", "of Bob"]
        assert lines(api_as("ada").get("/notes/visible")) == ["of Ada"]


def test_if_match_is_compared_with_the_row_as_it_was_before_the_request(api_as: ApiAs) -> None:
    ada = api_as("ada")
    tag = {"If-Match": ada.get("/notes/1").headers["etag"]}
    assert ada.post("/notes/1/finish-twice", headers=tag).status_code == 200
    assert ada.post("/notes/1/finish-twice", headers=tag).status_code == 412


def test_the_audit_log_has_the_table_of_each_row(
    api_as: ApiAs, tables: psycopg.Connection[Any]
) -> None:
    assert api_as("root", "admin").post("/notes/2/rename-writer").status_code == 200
    written = tables.execute("SELECT resource, resource_id FROM audit_log ORDER BY id").fetchall()
    assert written == [("made_notes", 2), ("writers", 2)]


def test_a_list_that_depends_on_the_role_is_shared_with_no_other_role(api_as: ApiAs) -> None:
    for _ in range(2):
        assert lines(api_as("root", "admin").get("/notes/by/role")) == ["of Ada", "of Bob"]
        assert lines(api_as("ada").get("/notes/by/role")) == ["of Ada"]


def test_a_cached_list_cannot_take_what_no_key_could_have(api_as: ApiAs) -> None:
    assert api_as("ada").get("/notes/by/dependency?skip=1").status_code == 200
    assert api_as("ada").get("/notes/by/dependency").status_code == 500
    for secret in ("one", "two"):  # both have the text **********
        assert api_as("ada").get(f"/notes/by/secret?line={secret}").status_code == 500


@pytest.mark.parametrize("register", [resource.read("/one"), resource.list(NotePage, "/some")])
def test_an_endpoint_of_a_kind_that_takes_a_request_or_a_response_is_rejected_at_import(
    register: Callable[..., Any],
) -> None:
    async def by_request(reader: Reader, http: Request) -> None: ...
    async def by_response(reader: Reader, http: Response) -> None: ...

    with pytest.raises(TypeError, match="by_request takes a Request"):
        register(by_request)
    with pytest.raises(TypeError, match="by_response takes a Response"):
        register(by_response)


def test_a_list_takes_the_parameters_of_its_pages() -> None:
    async def all_notes(reader: Reader, limit: int = 10) -> None: ...

    with pytest.raises(TypeError, match="all_notes is a list: it takes CursorParameters"):
        resource.list(NotePage, "/some")(all_notes)


def test_a_list_with_a_parameter_that_its_next_links_would_lack_is_rejected() -> None:
    def period(since: int = 0) -> int:
        return since

    async def by_word(reader: Reader, query: PageParameters, word: str = "") -> None: ...
    async def of_period(
        reader: Reader, query: PageParameters, since: Annotated[int, Depends(period)]
    ) -> None: ...

    for endpoint in (by_word, of_period):
        other = Resource("notes", "note", NotePublic)
        with pytest.raises(TypeError, match=f"{endpoint.__name__} is a list: .* of one class"):
            other.list(NotePage)(endpoint)


def test_an_operation_of_the_path_of_another_is_rejected() -> None:
    other = Resource("notes", "note", NotePublic)

    async def finish(transaction: Transaction, note_id: Id) -> None: ...
    async def finish_again(transaction: Transaction, note: Id) -> None: ...

    other.action("/done")(finish)
    other.item_path = "/{note:id}"
    other.action("/done")(finish_again)
    with pytest.raises(TypeError, match=r"finish and finish_again are POST .* only the first"):
        create_app(other.router)


def test_the_total_of_a_grouped_list_is_that_of_its_groups(
    api_as: ApiAs, tables: psycopg.Connection[Any]
) -> None:
    tables.execute("INSERT INTO made_pins VALUES (1, 1), (1, 2), (2, 1)")
    first, past = (api_as("ada").get(f"/notes/with/pins?skip={skip}") for skip in (0, 10))
    assert lines(first) == ["of Ada", "of Bob"]
    assert (first.json()["total"], past.json()["total"]) == (2, 2)
    assert lines(api_as("ada").get("/notes/with/pins?skip=1")) == ["of Bob"]


@pytest.mark.parametrize("path", ["/notes/mine", "/notes/mine/shared", "/notes/peek/mine"])
def test_callers_see_their_own_pages_and_no_others(api_as: ApiAs, path: str) -> None:
    for _ in range(2):
        assert lines(api_as("ada").get(path)) == ["of Ada"]
        assert lines(api_as("bob").get(path)) == ["of Bob"]
    assert api_as("ada").patch("/notes/1", json={"line": "new"}).status_code == 200
    assert lines(api_as("ada").get(path)) == ["new"]


def test_a_private_page_is_cached_for_its_caller(api_as: ApiAs, cache: Any) -> None:
    ada, bob = api_as("ada"), api_as("bob")
    for client in (ada, bob):
        client.get("/notes/mine")
        client.get("/notes/mine/shared")
        client.get("/notes")
    pages = [key.decode() for key in cache.keys("notes*:1:10")]
    assert len([page for page in pages if page.startswith("notes/mine:")]) == 2
    assert not [page for page in pages if page.startswith("notes/mine/shared")]
    assert "notes:1:10" in pages


def test_an_action_obeys_owners_and_conditions(
    api_as: ApiAs, tables: psycopg.Connection[Any]
) -> None:
    ada, bob = api_as("ada"), api_as("bob")
    tag = ada.get("/notes/1").headers["etag"]
    assert bob.post("/notes/1/finish").status_code == 403
    assert ada.post("/notes/4711/finish").status_code == 404
    assert ada.patch("/notes/1", json={"line": None}).json()["line"] is None
    assert ada.post("/notes/1/finish", headers={"If-Match": tag}).status_code == 412
    finished = ada.post("/notes/1/finish")
    assert finished.json()["done"] is True
    assert finished.headers["etag"] == ada.get("/notes/1").headers["etag"]
    assert done(tables) == [True, False]


def test_a_create_that_is_not_idempotent_takes_no_key(api_as: ApiAs) -> None:
    root, key = api_as("root", "admin"), {"Idempotency-Key": "one"}
    rejected = root.post("/notes/any", json={}, headers=key)
    assert rejected.json()["errors"][0]["field"] == "Idempotency-Key"
    assert [root.post("/notes/any", json={}).json()["id"] for _ in range(2)] == [3, 4]


def test_an_update_of_nothing_changes_nothing(api_as: ApiAs) -> None:
    ada = api_as("ada")
    before = ada.get("/notes/1")
    unchanged = ada.patch("/notes/1", json={})
    assert unchanged.json() == before.json()
    assert unchanged.headers["etag"] == before.headers["etag"]
    assert api_as("bob").patch("/notes/1", json={}).status_code == 403
    assert ada.patch("/notes/4711", json={}).status_code == 404


def test_a_plain_route_is_authorized_like_the_others(api_as: ApiAs, worker: Worker) -> None:
    assert api_as("ada", "reader").get("/notes/words").json() == {"words": 4}
    with client_of(handler=lambda_handler(APP)) as client:
        assert client.get("/notes/words").status_code == 401


def test_a_plain_write_obeys_owners_voids_pages_and_ignores_no_condition(
    api_as: ApiAs, tables: psycopg.Connection[Any]
) -> None:
    ada, bob = api_as("ada"), api_as("bob")
    assert lines(ada.get("/notes")) == ["of Ada", "of Bob"]
    assert api_as("eve", "reader").delete("/notes/of/1").status_code == 403
    assert bob.delete("/notes/of/1").status_code == 204
    assert ada.delete("/notes/of/1", headers={"If-Match": "*"}).status_code == 422
    assert lines(ada.get("/notes")) == ["of Ada", "of Bob"]
    assert ada.delete("/notes/of/1").status_code == 204
    assert lines(ada.get("/notes")) == ["of Bob"]


def test_a_link_is_made_once_shown_at_once_and_audited_with_its_ids(
    api_as: ApiAs, tables: psycopg.Connection[Any]
) -> None:
    bob = api_as("bob")
    assert bob.get("/notes/1/pins").json()["data"] == []
    for _ in range(2):
        response = bob.put("/notes/1/pins/2")
        assert (response.status_code, response.content) == (204, b"")
        assert bob.get("/notes/1/pins").json()["data"] == [{"user_id": 2, "name": "Bob"}]
    assert bob.delete("/notes/1/pins/2").status_code == 204
    assert bob.get("/notes/1/pins").json()["total"] == 0
    assert bob.delete("/notes/1/pins/2").status_code == 404
    audited = tables.execute("SELECT action, resource, resource_id, resource_key FROM audit_log")
    made, unmade = (("pin_note", "notes", 1, "1/2"), ("unpin_note", "notes", 1, "1/2"))
    assert audited.fetchall() == [made, made, unmade]


def test_a_link_obeys_owners_and_needs_both_rows(
    api_as: ApiAs, tables: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, root = api_as("ada"), api_as("bob"), api_as("root", "admin")
    assert ada.put("/notes/1/pins/2").status_code == 403
    no_note, no_user = ada.put("/notes/4711/pins/1"), root.put("/notes/1/pins/4711")
    assert (no_note.status_code, no_user.status_code) == (404, 404)
    assert no_note.json()["detail"] == "note_id: there is no such note."
    assert no_user.json()["detail"] == "user_id: there is no such user."
    assert bob.put("/notes/1/pins/2").status_code == 204
    assert ada.delete("/notes/1/pins/2").status_code == 403
    assert ada.delete("/notes/1/pins/1").status_code == 404
    assert tables.execute("SELECT * FROM made_pins").fetchall() == [(1, 2)]
    assert root.delete("/notes/1/pins/2").status_code == 204


def test_the_owner_of_a_link_may_be_that_of_a_linked_row(api_as: ApiAs) -> None:
    ada, bob = api_as("ada"), api_as("bob")
    assert bob.put("/notes/1/marks/2").status_code == 403
    assert ada.put("/notes/1/marks/2").status_code == 204
    assert bob.delete("/notes/1/marks/2").status_code == 403
    assert ada.delete("/notes/1/marks/2").status_code == 204


def test_a_link_takes_no_condition_and_needs_none(api_as: ApiAs, worker: Worker) -> None:
    ada = api_as("ada")
    worker.restart(**REQUIRED, REQUIRE_IF_MATCH="true")
    for write in (ada.put, ada.delete):
        assert write("/notes/1/pins/1").status_code == 204
        ada.put("/notes/1/pins/1")
        assert write("/notes/1/pins/1", headers={"If-Match": "*"}).status_code == 422
    assert ada.delete("/notes/1").status_code == 405


class HeadersFrontDoor:
    """Another front door: requests of a plain ASGI server, whose proxy has verified the token."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = RequestMiddleware(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.loop = asyncio.get_running_loop()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        subject = headers.get("x-subject")
        scope[SCOPE_KEY] = ApiRequest(
            method=scope["method"],
            path=scope["path"],
            gateway_id=headers["x-proxy-id"],
            deadline=time.monotonic() + 5,
            source_address=scope["client"][0],
            claims=claims_of("author", subject=subject, aud=AUDIENCE) if subject else None,
        )
        await self.app(scope, receive, send)


def test_another_front_door_needs_no_event(worker: Worker, tables: object) -> None:
    worker.restart(**REQUIRED)
    listener = socket.create_server(("127.0.0.1", 0))
    front_door = HeadersFrontDoor(APP)
    config = uvicorn.Config(front_door, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, headers={"x-proxy-id": "request-7"}) as client:
            assert client.get("/notes").status_code == 401
            client.headers["x-subject"] = "ada"
            page = client.get("/notes?limit=1")
            assert lines(page) == ["of Ada"]
            changed = client.patch("/notes/1", json={"line": "by another door"})
            # Mangum and API Gateway would add it.
            types = {response.headers["content-type"] for response in (page, changed)}
            assert types == {"application/json"}
            assert (changed.status_code, changed.headers["x-request-id"]) == (200, "request-7")
            assert lines(client.get("/notes/mine")) == ["by another door"]
            assert client.patch("/notes/2", json={"line": "not mine"}).status_code == 403
        # Its connections belong to its loop.
        asyncio.run_coroutine_threadsafe(reset(), front_door.loop).result(timeout=10)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def test_the_document_has_what_follows_from_a_kind_and_no_more_of_a_plain_route() -> None:
    document = get_openapi(title="Notes", version="1", routes=APP.routes)
    add_http_semantics(document)
    finish = document["paths"]["/notes/{note_id}/finish"]["post"]
    words = document["paths"]["/notes/words"]["get"]
    create = document["paths"]["/notes/any"]["post"]
    pin = document["paths"]["/notes/{note_id}/pins/{user_id}"]["put"]

    assert {"$ref": "#/components/parameters/If-Match"} in finish["parameters"]
    assert {"403", "404", "412"} <= set(finish["responses"])
    assert not {"304", "409", "415", "428"} & set(finish["responses"])
    assert "ETag" in finish["responses"]["200"]["headers"]
    assert "parameters" not in words
    assert "parameters" not in create
    assert "409" not in create["responses"]
    assert set(words["responses"]) == {"200", "401", "422", "429", "500", "503"}
    assert "ETag" not in words["responses"]["200"]["headers"]
    assert "x-kind" not in finish
    assert {"204", "403", "404"} <= set(pin["responses"])
    assert not {"409", "412", "415", "428"} & set(pin["responses"])
