"""Each violated constraint has its own error, derived from the models."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Executable,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    create_engine,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from local.services import Services
from shared.database.models import CONFLICT
from shared.database.violations import client_error
from shared.errors import AlreadyTaken, ApiError, Conflict, InvalidReference, ResourceInUse

MODELS = MetaData()
AUTHORS = Table("made_authors", MODELS, Column("id", BigInteger, primary_key=True))
EDITORS = Table("made_editors", MODELS, Column("id", BigInteger, primary_key=True))
BOOKS = Table(
    "made_books",
    MODELS,
    Column("id", BigInteger, primary_key=True),
    Column("author_id", ForeignKey("made_authors.id", name="books_author_id_fkey")),
    Column("editor_id", ForeignKey("made_editors.id", name="books_editor_id_fkey")),
    Column("checked_by", ForeignKey("made_editors.id", name="books_checked_by_fkey")),
    Column("isbn", BigInteger),
    Column("shelf", BigInteger),
    Column("secret", BigInteger),
    Index("books_isbn_key", "isbn", unique=True, info={CONFLICT: "isbn: another book has it."}),
    Index("books_shelf_key", "shelf", unique=True, info={CONFLICT: "shelf: it is taken."}),
    Index("books_secret_key", "secret", unique=True),
    CheckConstraint("shelf > 0", name="books_shelf", info={CONFLICT: "shelf: it is closed."}),
    CheckConstraint("secret > 0", name="books_secret"),
)

CODES = Table(
    "made_codes",
    MODELS,
    Column("code", BigInteger, autoincrement=False),
    PrimaryKeyConstraint("code", name="codes_pkey"),
)
PARTS = Table(
    "made_parts",
    MODELS,
    Column("id", BigInteger, primary_key=True),
    Column("code", BigInteger),
    Column("place", BigInteger),
    ForeignKeyConstraint(
        ["code", "place"],
        ["made_placed_codes.code", "made_placed_codes.place"],
        name="parts_code_fkey",
    ),
)
PLACED_CODES = Table(
    "made_placed_codes",
    MODELS,
    Column("code", BigInteger, autoincrement=False),
    Column("place", BigInteger, server_default="1"),
    PrimaryKeyConstraint("code", "place", name="placed_codes_pkey"),
)


@pytest.fixture
def connection(services: Services) -> Iterator[Connection]:
    def connect() -> "psycopg.Connection":
        return psycopg.connect(services.database_url)

    engine = create_engine("postgresql+psycopg://", creator=connect)
    with engine.connect() as one, one.begin() as transaction:
        MODELS.create_all(one)
        one.execute(insert(AUTHORS), [{"id": 1}])
        one.execute(insert(EDITORS), [{"id": 1}])
        yield one
        transaction.rollback()
    engine.dispose()


def error_of(connection: Connection, statement: Executable) -> ApiError | None:
    with pytest.raises(IntegrityError) as violation, connection.begin_nested():
        connection.execute(statement)
    return client_error(violation.value, statement)


@pytest.mark.parametrize(
    ("column", "item"), [("author_id", "author"), ("editor_id", "editor"), ("checked_by", "item")]
)
def test_a_reference_to_nothing_names_its_column(
    connection: Connection, column: str, item: str
) -> None:
    error = error_of(connection, insert(BOOKS).values(id=1, **{column: 4711}))
    assert isinstance(error, InvalidReference)
    assert str(error) == f"{column}: there is no such {item}."


@pytest.mark.parametrize(
    ("column", "message"),
    [("isbn", "isbn: another book has it."), ("shelf", "shelf: it is taken.")],
)
def test_a_conflict_has_the_text_of_its_index(
    connection: Connection, column: str, message: str
) -> None:
    connection.execute(insert(BOOKS).values(id=1, **{column: 1}))
    error = error_of(connection, insert(BOOKS).values(id=2, **{column: 1}))
    assert isinstance(error, AlreadyTaken)
    assert str(error) == message


def test_a_check_with_a_text_is_a_rule_of_the_resource(connection: Connection) -> None:
    error = error_of(connection, insert(BOOKS).values(id=1, shelf=0))
    assert type(error) is Conflict
    assert str(error) == "shelf: it is closed."


@pytest.mark.parametrize("secret", [0, 1])
def test_an_index_or_a_check_without_a_text_is_a_bug(connection: Connection, secret: int) -> None:
    connection.execute(insert(BOOKS).values(id=1, secret=1))
    assert error_of(connection, insert(BOOKS).values(id=2, secret=secret)) is None


def test_a_delete_of_what_others_refer_to_names_them(connection: Connection) -> None:
    connection.execute(insert(BOOKS).values(id=1, author_id=1))
    error = error_of(connection, delete(AUTHORS).where(AUTHORS.c.id == 1))
    assert isinstance(error, ResourceInUse)
    assert str(error) == "Rows of made books refer to it."


@pytest.mark.parametrize(
    "statement",
    [
        update(AUTHORS).where(AUTHORS.c.id == 1).values(id=2),
        select(delete(AUTHORS).returning(AUTHORS.c.id).cte("gone")),
    ],
    ids=["a change of its key", "a delete in a CTE"],
)
def test_a_row_to_which_others_refer_is_in_use_for_changes_of_its_key_too(
    connection: Connection, statement: Executable
) -> None:
    connection.execute(insert(BOOKS).values(id=1, author_id=1))
    assert isinstance(error_of(connection, statement), ResourceInUse)


def test_a_reference_by_several_columns_names_them_all(connection: Connection) -> None:
    error = error_of(connection, insert(PARTS).values(id=1, code=1, place=2))
    assert isinstance(error, InvalidReference)
    assert str(error) == "code, place: there is no such item."


@pytest.mark.parametrize(
    ("table", "message"), [(CODES, "code: this value is already in use."), (PLACED_CODES, None)]
)
def test_a_key_that_is_taken_is_the_clients_error_if_clients_give_all_of_it(
    connection: Connection, table: Table, message: str | None
) -> None:
    connection.execute(insert(table).values(code=1))
    error = error_of(connection, insert(table).values(code=1))
    assert (error and str(error)) == message
