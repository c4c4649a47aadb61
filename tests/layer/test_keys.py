"""Resources whose key is a text that clients give, or a UUID: places, and visits of them."""

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

import httpx
import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    MetaData,
    Table,
    Text,
    Uuid,
    create_engine,
    func,
    select,
)

from local.demo.columns import nth_key
from migrations.triggers import (
    forget_responses_by_key,
    forget_responses_when_set,
    stop_forgetting_responses_when_set,
)
from shared.database.items import Item
from shared.database.models import METADATA
from shared.database.paged_query import PagedQuery
from shared.database.server import database_url
from shared.errors import AlreadyTaken, InvalidReference, NotFound
from shared.http.application import create_app, lambda_handler
from shared.http.fields import Body, Key, Shown
from shared.http.pagination import OffsetPage, PageParameters, encode_cursor
from shared.http.resource import PageResult, Reader, Resource, Row, Transaction
from tests.in_process import client_of

TABLES = MetaData(naming_convention=METADATA.naming_convention)
places = Table(
    "made_places",
    TABLES,
    Column("name", Text, nullable=False),
    Column("code", Text(collation="C"), primary_key=True),
    Column("closed_at", DateTime(timezone=True)),
)
"""Its key is not the first column."""
visits = Table(
    "made_visits",
    TABLES,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("place_code", Text(collation="C"), ForeignKey("made_places.code", ondelete="CASCADE")),
    Column("closed_at", DateTime(timezone=True)),
)
PLACE, VISIT = Item(places), Item(visits)
PLACES = PagedQuery(select(*places.c), places.c.code, counted=True)
VISITS = PagedQuery(select(*visits.c), visits.c.id, counted=True)
PlaceCode = Annotated[str, Key("[A-Z]{2}", "DE")]


class PlaceName(Body):
    name: str


class PlaceCreate(PlaceName):
    code: PlaceCode


class PlacePublic(Shown):
    code: PlaceCode
    name: str


class PlacePage(OffsetPage[PlacePublic]):
    """A page of places."""


class VisitCreate(Body):
    place_code: PlaceCode


class VisitPublic(Shown):
    id: UUID
    place_code: str


class VisitPage(OffsetPage[VisitPublic]):
    """A page of visits."""


place_routes = Resource("made_places", "place", PlacePublic, key="code")
visit_routes = Resource("made_visits", "visit", VisitPublic)


@place_routes.create(raises=[AlreadyTaken])
async def create_place(transaction: Transaction, body: PlaceCreate) -> Row:
    return await PLACE.insert(transaction, body.model_dump())


@place_routes.list(PlacePage, cached=True)
async def list_places(reader: Reader, query: PageParameters) -> PageResult:
    return await PLACES.fetch(reader, query.position, query.limit)


@place_routes.read()
async def get_place(reader: Reader, place_code: PlaceCode) -> Row:
    return await PLACE.find(reader, place_code)


@place_routes.replace()
async def put_place(transaction: Transaction, place_code: PlaceCode, body: PlaceName) -> Row:
    """It creates a place that it does not find."""
    try:
        return await PLACE.update(transaction, place_code, body.model_dump())
    except NotFound:
        return await PLACE.insert(transaction, {"code": place_code, **body.model_dump()})


@place_routes.delete()
async def delete_place(transaction: Transaction, place_code: PlaceCode) -> None:
    await PLACE.delete(transaction, place_code)


@visit_routes.create(raises=[InvalidReference])
async def create_visit(transaction: Transaction, body: VisitCreate) -> Row:
    return await VISIT.insert(transaction, body.model_dump())


@visit_routes.list(VisitPage, cached=True)
async def list_visits(reader: Reader, query: PageParameters) -> PageResult:
    return await VISITS.fetch(reader, query.position, query.limit)


@visit_routes.read()
async def get_visit(reader: Reader, visit_id: UUID) -> Row:
    return await VISIT.find(reader, visit_id)


HANDLERS = {
    one.name: lambda_handler(create_app(one.router)) for one in (place_routes, visit_routes)
}


def handler(event: dict[str, Any], context: Any) -> Any:
    _, name, *_ = event["rawPath"].split("/")
    return HANDLERS[name](event, context)


@pytest.fixture
def api(database: psycopg.Connection[Any], cache: object, worker: object) -> Iterator[httpx.Client]:
    """The API of both, with the triggers that a migration makes."""
    engine = create_engine(database_url())
    with engine.begin() as connection:
        TABLES.create_all(connection)
        with Operations.context(MigrationContext.configure(connection)):
            forget_responses_by_key("made_places", "code")
            forget_responses_by_key("made_visits", "id")
            for table in TABLES.tables:
                forget_responses_when_set(table, "closed_at")
    with client_of(handler=handler) as client:
        yield client
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        for table in TABLES.tables:
            stop_forgetting_responses_when_set(table, "closed_at")
    TABLES.drop_all(engine)
    engine.dispose()


def place(api: httpx.Client, code: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.post("/made_places", json={"code": code, "name": f"In {code}"}, headers=named)


def test_an_item_is_at_the_key_that_its_client_gave(api: httpx.Client) -> None:
    created = place(api, "DE")
    assert (created.status_code, created.headers["location"]) == (201, "/made_places/DE")
    assert api.get("/made_places/DE").headers["etag"] == created.headers["etag"]
    taken = place(api, "DE")
    assert taken.status_code == 409
    assert taken.json()["detail"] == "code: this value is already in use."
    assert place(api, "de").status_code == 422
    statuses = [api.get(f"/made_places/{key}").status_code for key in ("FR", "de", "D%2FE")]
    assert statuses == [404, 422, 404]


def test_a_generated_key_is_where_the_item_is(api: httpx.Client) -> None:
    place(api, "DE")
    created = api.post("/made_visits", json={"place_code": "DE"})
    visit = UUID(created.json()["id"])
    assert created.headers["location"] == f"/made_visits/{visit}"
    assert api.get(f"/made_visits/{str(visit).upper()}").json() == created.json()
    assert api.get("/made_visits/1").status_code == 404
    unknown = api.post("/made_visits", json={"place_code": "FR"})
    assert unknown.json()["detail"] == "place_code: there is no such place."


def test_lists_are_in_the_order_of_their_keys(api: httpx.Client) -> None:
    for code in ("DE", "AT", "FR", "CH"):
        assert place(api, code).is_success
        assert api.post("/made_visits", json={"place_code": code}).is_success
    for path, key in (("/made_places", "code"), ("/made_visits", "id")):
        found, pages = [], []
        url = f"{path}?limit=3"
        while url:
            pages.append(api.get(url).json())
            found += [item[key] for item in pages[-1]["data"]]
            url = pages[-1]["next"]
        assert len(found) == 4
        assert found == sorted(found)
        assert [page["total"] for page in pages] == [4, 4]
        assert [one[key] for one in api.get(f"{path}?skip=2").json()["data"]] == found[2:]


@pytest.mark.parametrize("path", ["/made_places", "/made_visits"])
@pytest.mark.parametrize("key", [7, "DE", UUID(int=7)])
def test_a_cursor_of_a_list_with_other_keys_is_rejected(
    api: httpx.Client, path: str, key: int | str | UUID
) -> None:
    is_its_own = type(key) is {"/made_places": str, "/made_visits": UUID}[path]
    response = api.get(path, params={"cursor": encode_cursor(key)})
    assert response.status_code == (200 if is_its_own else 422)
    if not is_its_own:
        assert response.json()["errors"][0]["field"] == "cursor"


def test_a_write_voids_the_list_and_is_audited(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    assert api.get("/made_places").json()["total"] == 0
    place(api, "DE")
    assert api.get("/made_places").json()["total"] == 1
    assert api.delete("/made_places/DE").status_code == 204
    assert api.get("/made_places").json()["total"] == 0
    rows = database.execute("SELECT action, resource_id, resource_key FROM audit_log ORDER BY id")
    assert rows.fetchall() == [("create_place", None, "DE"), ("delete_place", None, "DE")]


def test_a_retried_create_has_the_first_response_until_its_item_is_deleted(
    api: httpx.Client,
) -> None:
    first, again = (place(api, "DE", Idempotency_Key="one") for _ in range(2))
    assert (again.content, again.headers["location"]) == (first.content, "/made_places/DE")
    api.delete("/made_places/DE")
    gone = place(api, "DE", Idempotency_Key="one")
    assert gone.json()["type"] == "/problems#resource-deleted"
    assert place(api, "DE", Idempotency_Key="two").status_code == 201


def test_a_soft_deletion_forgets_the_stored_response_too(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    for code in ("DE", "FR"):
        assert place(api, code, Idempotency_Key=code).status_code == 201
    database.execute("UPDATE made_places SET closed_at = now() WHERE code = 'DE'")
    assert place(api, "DE", Idempotency_Key="DE").status_code == 409
    assert place(api, "FR", Idempotency_Key="FR").status_code == 201


def test_so_does_that_of_an_item_with_a_generated_key(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    place(api, "DE")

    def visit() -> httpx.Response:
        key = {"Idempotency-Key": "one"}
        return api.post("/made_visits", json={"place_code": "DE"}, headers=key)

    assert visit().content == visit().content
    database.execute("UPDATE made_visits SET closed_at = now()")
    assert visit().json()["type"] == "/problems#resource-deleted"


class Untyped(Shown):
    code: str


class AnyKey(Shown):
    code: Annotated[str, Key()]


@pytest.mark.parametrize(("schema", "key"), [(Untyped, "code"), (Untyped, "id"), (AnyKey, "id")])
def test_a_key_of_another_type_is_rejected_at_import(schema: type[Shown], key: str) -> None:
    with pytest.raises(TypeError, match=rf"{schema.__name__}\.{key} must be an Id, a UUID"):
        Resource("things", "thing", schema, key=key)


def test_a_path_that_could_be_a_key_is_rejected_at_import() -> None:
    for schema, is_rejected in ((PlacePublic, False), (AnyKey, True)):
        resource = Resource("things", "thing", schema, key="code")
        if not is_rejected:
            resource.read("/stats", schema)(get_place)
            continue
        with pytest.raises(TypeError, match="stats could be a key of things"):
            resource.read("/stats", schema)(get_place)


def test_a_path_after_that_of_the_items_which_takes_it_for_a_key_is_rejected_at_import() -> None:
    resource = Resource("things", "thing", PlacePublic, key="code")
    resource.read()(get_place)
    resource.read("/{thing_code:key}/stats", PlacePublic)(get_place)
    create_app(resource.router)
    resource.list(PlacePage, "/latest")(list_places)
    with pytest.raises(TypeError, match=r"get_place would get .* GET /things/latest: put list"):
        create_app(resource.router)


def test_if_match_creates_no_item(api: httpx.Client) -> None:
    path, body = "/made_places/DE", {"name": "Germany"}
    for tag in ("*", '"1-x"'):
        assert api.put(path, json=body, headers={"If-Match": tag}).status_code == 412
    assert api.get(path).status_code == 404
    assert api.put(path, json=body).status_code == 200
    assert api.put(path, json=body, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize("example", ["de", "D/", ".."])
def test_an_example_that_is_not_a_key_is_rejected_at_import(example: str) -> None:
    with pytest.raises(TypeError, match="does not match"):
        Key("[A-Z./]{2}", example)


def test_keys_of_rows_count_up_from_the_example() -> None:
    assert [nth_key("DE", number) for number in (0, 1, 2, 23)] == ["DD", "DE", "DF", "EA"]
    assert [nth_key("a-0099", number) for number in (1, 2)] == ["a-0099", "a-0100"]
    with pytest.raises(ValueError, match="give the Key another example"):
        nth_key("A-1", 10)
