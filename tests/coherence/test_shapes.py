"""Pages of tables of any shape are coherent, and no shape declares anything.

The tables are this test's own: a link table, columns of a joined table, cascades of three levels
and by several ways, tables that refer to themselves, scopes that cascades, generated columns and
triggers change. Statements are plain SQLAlchemy; of the layer they use `read`, `transaction`,
`PageCache` and `Fences`.
"""

import asyncio
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

import psycopg
import pytest
from pydantic import BaseModel
from sqlalchemy import (
    CHAR,
    BigInteger,
    Column,
    Computed,
    Enum,
    Executable,
    ForeignKey,
    Identity,
    MetaData,
    Numeric,
    Select,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    bindparam,
    column,
    create_engine,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
    true,
    update,
    values,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import CITEXT

from local.services import Services
from shared import database
from shared.cache.fences import Fences
from shared.cache.pages import Loaded, PageCache
from shared.database.changes import changes_of
from shared.database.dependencies import DERIVED_FROM, SCOPE, UNTRACKED, dependencies_of, merge
from shared.database.models import row_counts
from shared.database.paged_query import row_count
from shared.database.statements import UnknownTables
from shared.request import Record
from tests.conftest import Worker
from tests.transactions import REQUEST, wait_for_a_lock

SHAPES = MetaData()


def key() -> Column[int]:
    return Column("id", BigInteger, Identity(), primary_key=True)


def refers(name: str, to: str, **options: Any) -> Column[int]:
    return Column(name, BigInteger, ForeignKey(f"{to}.id", **options))


authors = Table("made_authors", SHAPES, key(), Column("name", Text))
books = Table(
    "made_books",
    SHAPES,
    key(),
    refers("author_id", "made_authors", ondelete="CASCADE"),
    refers("sequel_of", "made_books", ondelete="SET NULL"),
    Column("title", Text),
    info={SCOPE: "author_id"},
)
labels = Table("made_labels", SHAPES, key(), Column("name", Text))
book_labels = Table(
    "made_book_labels",
    SHAPES,
    key(),
    refers("book_id", "made_books", ondelete="CASCADE"),
    refers("label_id", "made_labels", ondelete="CASCADE"),
)
marks = Table(
    "made_marks",
    SHAPES,
    Column("book_id", ForeignKey("made_books.id", ondelete="CASCADE"), primary_key=True),
    Column("label_id", ForeignKey("made_labels.id", ondelete="CASCADE"), primary_key=True),
    Column("weight", BigInteger),
    info={SCOPE: "label_id"},
)
loans = Table(
    "made_loans",
    SHAPES,
    key(),
    Column("shelf", BigInteger),
    refers("label_id", "made_labels", ondelete="set null (label_id)"),
    info={SCOPE: "shelf"},
)
lost = Table(
    "made_lost", SHAPES, key(), refers("loan_id", "made_loans", ondelete="SET  DEFAULT (loan_id)")
)
notes = Table(
    "made_notes",
    SHAPES,
    key(),
    refers("book_label_id", "made_book_labels", ondelete="CASCADE"),
    Column("note", Text),
)
folders = Table(
    "made_folders",
    SHAPES,
    key(),
    refers("parent_id", "made_folders", ondelete="SET NULL"),
    Column("name", Text),
    info={SCOPE: "parent_id"},
)
countries = Table("made_countries", SHAPES, Column("code", Text, primary_key=True))
cities = Table(
    "made_cities",
    SHAPES,
    key(),
    Column(
        "country",
        ForeignKey("made_countries.code", onupdate="CASCADE", ondelete="SET DEFAULT"),
        server_default="FR",
    ),
    Column("name", Text),
    info={SCOPE: "country"},
)
borders = Table(
    "made_borders",
    SHAPES,
    key(),
    Column("country", ForeignKey("made_countries.code", onupdate="CASCADE")),
)
readings = Table(
    "made_readings",
    SHAPES,
    key(),
    Column("value", BigInteger),
    Column("decade", BigInteger, Computed("value / 10", persisted=True)),
    UniqueConstraint("decade", "id"),
    info={SCOPE: "decade"},
)
people = Table(
    "made_people",
    SHAPES,
    key(),
    Column("name", Text),
    Column("initial", Text),
    info={SCOPE: "initial"},
)
# Contracts are found first by the key that does not delete them.
contracts = Table(
    "made_contracts",
    SHAPES,
    key(),
    refers("editor_id", "made_authors", ondelete="SET NULL"),
    refers("agency_id", "made_agencies", ondelete="CASCADE"),
)
agencies = Table(
    "made_agencies", SHAPES, key(), refers("owner_id", "made_authors", ondelete="CASCADE")
)
clauses = Table(
    "made_clauses", SHAPES, key(), refers("contract_id", "made_contracts", ondelete="CASCADE")
)
title_counts = Table(
    "made_title_counts",
    SHAPES,
    key(),
    Column("titles", BigInteger),
    info={DERIVED_FROM: ("made_books",)},
)
totals = Table(
    "made_totals",
    SHAPES,
    key(),
    Column("total", BigInteger),
    info={DERIVED_FROM: ("made_title_counts",)},
)
total_notes = Table(
    "made_total_notes", SHAPES, key(), refers("total_id", "made_totals", ondelete="CASCADE")
)
NOW = database.sql("transaction_timestamp()", reads=[books])
log = Table("made_log", SHAPES, key(), Column("line", Text), info={UNTRACKED: True})

ROWS = """
INSERT INTO made_authors (name) VALUES ('Ada'), ('Bob');
INSERT INTO made_books (author_id, title) VALUES (1, 'One'), (2, 'Two');
INSERT INTO made_books (author_id, title, sequel_of) VALUES (1, 'Three', 1);
INSERT INTO made_labels (name) VALUES ('old'), ('new');
INSERT INTO made_book_labels (book_id, label_id) VALUES (1, 1), (2, 2), (3, 2);
INSERT INTO made_marks (book_id, label_id, weight) VALUES (1, 1, 5), (3, 2, 5);
INSERT INTO made_loans (shelf, label_id) VALUES (1, 1), (1, 2);
INSERT INTO made_lost (loan_id) VALUES (1);
INSERT INTO made_notes (book_label_id, note) VALUES (1, 'first'), (3, 'third');
INSERT INTO made_title_counts (titles) VALUES (3);
INSERT INTO made_totals (total) VALUES (3);
INSERT INTO made_total_notes (total_id) VALUES (1);
INSERT INTO made_log (line) VALUES ('made');
INSERT INTO made_folders (parent_id, name) VALUES (NULL, 'root'), (1, 'child'), (2, 'grandchild');
INSERT INTO made_countries VALUES ('DE'), ('FR');
INSERT INTO made_cities (country, name) VALUES ('DE', 'Ulm');
INSERT INTO made_countries VALUES ('AT');
INSERT INTO made_borders (country) VALUES ('AT');
INSERT INTO made_readings (value) VALUES (10);
INSERT INTO made_people (name, initial) VALUES ('Ada', 'A');
INSERT INTO made_agencies (owner_id) VALUES (1);
INSERT INTO made_contracts (editor_id, agency_id) VALUES (2, 1);
INSERT INTO made_clauses (contract_id) VALUES (1);
CREATE FUNCTION count_titles() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN UPDATE made_title_counts SET titles = (SELECT count(*) FROM made_books);
     RETURN NULL; END';
CREATE TRIGGER count_titles AFTER INSERT OR DELETE ON made_books EXECUTE FUNCTION count_titles();
CREATE FUNCTION replace_totals() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN DELETE FROM made_totals; INSERT INTO made_totals (total) VALUES (NEW.titles);
     RETURN NULL; END';
CREATE TRIGGER replace_totals AFTER UPDATE ON made_title_counts FOR EACH ROW
    EXECUTE FUNCTION replace_totals();
CREATE FUNCTION rename_label(label bigint) RETURNS text LANGUAGE sql AS
    'UPDATE made_labels SET name = ''newer'' WHERE id = label RETURNING name';
CREATE FUNCTION set_initial() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.initial := left(NEW.name, 1); RETURN NEW; END';
CREATE TRIGGER set_initial BEFORE UPDATE ON made_people FOR EACH ROW EXECUTE FUNCTION set_initial();
"""


WHY_UNKNOWN = (
    "name its tables|must compare table_name|table of the models|cannot read row_counts"
    "|a model has no schema|which is no table"
)


class Rows(BaseModel):
    data: list[str]


BOOKS, MARKS = PageCache("made_books", Rows), PageCache("made_marks", Rows, "made_books/marks")
AUTHOR = bindparam("author", type_=BigInteger)
OF_ADA = {"author": 1}
sequels = books.alias("sequels")
last = select(func.max(books.c.id).label("id")).subquery()
same, others = books.alias("same"), books.alias("others")

READS: dict[str, Any] = {
    "books": select(books.c.title),
    "books of an author": select(books.c.title).where(books.c.author_id == AUTHOR),
    "books of an author, counted": select(
        books.c.title,
        select(func.count()).where(books.c.author_id == AUTHOR).scalar_subquery(),
    ).where(books.c.author_id == AUTHOR),
    "books of an author, of all": select(
        books.c.title, select(func.count()).select_from(books).scalar_subquery()
    ).where(books.c.author_id == AUTHOR),
    "books of an author with their labels counted": select(
        books.c.title,
        select(func.count(book_labels.c.id))
        .where(book_labels.c.book_id == books.c.id)
        .scalar_subquery(),
    ).where(books.c.author_id == AUTHOR, exists().where(authors.c.id == books.c.author_id)),
    "books of an author beside all, joined": select(
        books.c.title,
        select(func.count())
        .select_from(books.join(authors, authors.c.id == books.c.author_id))
        .scalar_subquery(),
    ).where(books.c.author_id == AUTHOR),
    "books of an author beside any book": select(
        books.c.title, select(books.c.title).correlate(None).limit(1).scalar_subquery()
    ).where(books.c.author_id == AUTHOR),
    "books of an author beside the last of all": select(books.c.title, last.c.id)
    .join(last, true())
    .where(books.c.author_id == AUTHOR),
    "books with their author's name": select(books.c.title, authors.c.name).join(
        authors, authors.c.id == books.c.author_id
    ),
    "books of an author with its name": select(books.c.title, authors.c.name)
    .join(authors, authors.c.id == books.c.author_id)
    .where(books.c.author_id == AUTHOR),
    "books by label": select(books.c.title, labels.c.name)
    .join(book_labels, book_labels.c.book_id == books.c.id)
    .join(labels, labels.c.id == book_labels.c.label_id),
    "books with a label": select(books.c.title).where(
        exists().where(book_labels.c.book_id == books.c.id)
    ),
    "books with a mark": select(books.c.title, marks.c.weight)
    .join(marks, marks.c.book_id == books.c.id)
    .where(marks.c.label_id == AUTHOR),
    "marks of a label": select(marks.c.book_id, marks.c.weight).where(marks.c.label_id == AUTHOR),
    "marks": select(marks.c.book_id),
    "notes": select(notes.c.note),
    "loans of a shelf": select(loans.c.label_id).where(loans.c.shelf == AUTHOR),
    "lost loans": select(lost.c.loan_id),
    "labels in a CTE": select(select(labels.c.name).cte("named")),
    "books and their sequels": select(books.c.title, sequels.c.title).outerjoin(
        sequels, sequels.c.sequel_of == books.c.id
    ),
    "an author's books and anyone's sequels": select(books.c.title, sequels.c.title)
    .outerjoin(sequels, sequels.c.sequel_of == books.c.id)
    .where(books.c.author_id == AUTHOR),
    "an author's books, and others in a nested join": select(books.c.title, others.c.title)
    .select_from(
        books.join(same.outerjoin(others, others.c.id != same.c.id), books.c.id == same.c.id)
    )
    .where(books.c.author_id == AUTHOR, same.c.author_id == AUTHOR),
    "borders": select(borders.c.country),
    "clauses": select(clauses.c.id),
    "counted titles": select(title_counts.c.titles),
    "counted titles, as text": database.sql(
        "SELECT titles FROM made_title_counts", reads=[title_counts]
    ),
    "a total of counted titles": select(totals.c.total),
    "rows that refer to a total": select(total_notes.c.id),
    "an author's books beside the last of all, in VALUES": select(
        books.c.title,
        values(column("last", BigInteger), name="rows")
        .data([(select(func.max(books.c.id)).scalar_subquery(),)])
        .scalar_values(),
    ).where(books.c.author_id == AUTHOR),
    "a name in VALUES": select(
        values(column("name", Text), name="rows").data(
            [(select(func.min(labels.c.name)).scalar_subquery(),)]
        )
    ),
    "a union": select(authors.c.name).union_all(select(labels.c.name)).subquery().select(),
    "as text": database.sql("SELECT name FROM made_labels", reads=[labels]),
}


class Scoped(NamedTuple):
    """A page of the rows of one scope."""

    table: Table
    scope: object

    @property
    def statement(self) -> Select[Any]:
        column = self.table.c[self.table.info[SCOPE]]
        return select(self.table.c.id).where(column == self.scope)


SCOPED = (
    *(Scoped(folders, parent) for parent in (1, 2)),
    *(Scoped(cities, country) for country in ("DE", "FR", "IT")),
    *(Scoped(readings, decade) for decade in (1, 2)),
    *(Scoped(people, initial) for initial in ("A", "B")),
)
READS |= {f"{one.table.name} of {one.scope}": one.statement for one in SCOPED}
PAGES = {
    f"{one.table.name} of {one.scope}": (PageCache(one.table.name, Rows), str(one.scope))
    for one in SCOPED
}
ID = bindparam("changed", type_=BigInteger)
another = labels.alias("another")
before = select(authors.c.id).where(authors.c.id == 1).cte("before")
RENAMED = database.sql("rename_label(2)", reads=[], changes=[labels])
upsert = postgresql.insert(books)
mark = postgresql.insert(marks)
KEY_OF_MARKS = list(marks.primary_key)
WRITES: dict[str, tuple[Executable, dict[str, object]]] = {
    "an author is renamed": (
        update(authors).where(authors.c.id == ID).values(name="Eve").returning(authors.c.id),
        {"changed": 1},
    ),
    "an author is deleted, with books, labels of these, and notes": (
        delete(authors).where(authors.c.id == ID).returning(authors.c.id),
        {"changed": 1},
    ),
    "a label is deleted, and another number returned as its id": (
        delete(labels).where(labels.c.id == ID).returning(literal(2).label("id")),
        {"changed": 1},
    ),
    "a label is deleted, and another one's id returned": (
        delete(labels)
        .where(labels.c.id == ID, another.c.id == labels.c.id + 1)
        .returning(another.c.id),
        {"changed": 1},
    ),
    "a book is added": (
        insert(books).returning(books.c.id),
        {"author_id": 1, "title": "Four"},
    ),
    "a book of another author is added": (
        insert(books).returning(books.c.id),
        {"author_id": 2, "title": "Four"},
    ),
    "a book is retitled": (
        update(books).where(books.c.id == ID).values(title="Uno").returning(books.c.id),
        {"changed": 1},
    ),
    "a book is retitled, as its author was before": (
        update(books)
        .where(books.c.id == ID, books.c.author_id == before.c.id)
        .values(title="Uno")
        .returning(books.c.id),
        {"changed": 1},
    ),
    "a book moves, by a parameter": (
        update(books).where(books.c.id == ID).returning(books.c.id),
        {"changed": 2, "author_id": 1},
    ),
    "a book moves, by the statement": (
        update(books).where(books.c.id == ID).values(author_id=2).returning(books.c.id),
        {"changed": 1},
    ),
    "a book moves, by a parameter of another name": (
        update(books).where(books.c.id == ID).values(author_id=AUTHOR).returning(books.c.id),
        {"changed": 1, "author": 2},
    ),
    "a book is replaced, and stays": (
        update(books).where(books.c.id == ID).returning(books.c.id),
        {"changed": 2, "author_id": 2, "title": "Dos"},
    ),
    "a book moves, by an expression": (
        update(books)
        .where(books.c.id == ID)
        .values(author_id=select(func.min(authors.c.id)).scalar_subquery())
        .returning(books.c.id),
        {"changed": 2},
    ),
    "a book moves, by a conflict": (
        upsert.on_conflict_do_update(
            index_elements=[books.c.id], set_={"author_id": upsert.excluded.author_id}
        ).returning(books.c.id),
        {"id": 1, "author_id": 2, "title": "One"},
    ),
    "a book is marked": (
        mark.on_conflict_do_update(
            index_elements=KEY_OF_MARKS, set_={"label_id": mark.excluded.label_id}
        ).returning(marks.c.book_id),
        {"book_id": 2, "label_id": 1},
    ),
    "a book is marked otherwise": (
        mark.on_conflict_do_update(
            index_elements=KEY_OF_MARKS, set_={"weight": mark.excluded.weight}
        ).returning(marks.c.book_id),
        {"book_id": 1, "label_id": 1, "weight": 7},
    ),
    "a book is marked with another label": (
        mark.on_conflict_do_nothing().returning(marks.c.book_id),
        {"book_id": 2, "label_id": 2},
    ),
    "a mark moves, by a conflict": (
        mark.on_conflict_do_update(index_elements=KEY_OF_MARKS, set_={"label_id": 2}).returning(
            marks.c.book_id
        ),
        {"book_id": 1, "label_id": 1},
    ),
    "a mark is deleted": (
        delete(marks).where(marks.c.book_id == ID).returning(marks.c.book_id),
        {"changed": 1},
    ),
    "a book is deleted": (
        delete(books).where(books.c.id == ID).returning(books.c.id),
        {"changed": 1},
    ),
    "a label is deleted, from all books": (
        delete(labels).where(labels.c.id == ID).returning(labels.c.id),
        {"changed": 2},
    ),
    "a loan ends": (
        delete(loans).where(loans.c.id == ID).returning(loans.c.id),
        {"changed": 1},
    ),
    "a label is put on a book": (
        insert(book_labels).returning(book_labels.c.id),
        {"book_id": 2, "label_id": 1},
    ),
    "a book is added in a CTE": (
        select(
            insert(books).values(author_id=1, title="Four").returning(books.c.id).cte("added").c.id
        ),
        {},
    ),
    "a label is renamed, as text": (
        database.sql(
            "UPDATE made_labels SET name = 'newer' WHERE id = :changed RETURNING id",
            reads=[labels],
            changes=[labels],
        ),
        {"changed": 2},
    ),
    "a folder is deleted, with folders in it": (
        delete(folders).where(folders.c.id == ID).returning(folders.c.id),
        {"changed": 2},
    ),
    "a country is renamed": (
        update(countries)
        .where(countries.c.code == "DE")
        .values(code="IT")
        .returning(countries.c.code),
        {},
    ),
    "a country is renamed, as text": (
        database.sql(
            "UPDATE made_countries SET code = 'IT' WHERE code = 'AT' RETURNING code",
            reads=[countries],
            changes=[countries],
        ),
        {},
    ),
    "a country is deleted": (
        delete(countries).where(countries.c.code == "DE").returning(countries.c.code),
        {},
    ),
    "a generated scope changes": (
        update(readings).where(readings.c.id == ID).returning(readings.c.id),
        {"changed": 1, "value": 20},
    ),
    "a generated scope changes, by a conflict": (
        postgresql.insert(readings)
        .on_conflict_do_update(
            index_elements=[readings.c.decade, readings.c.id],
            set_={"value": readings.c.value + 10},
        )
        .returning(readings.c.id),
        {"id": 1, "value": 10},
    ),
    "a trigger changes a scope": (
        update(people).where(people.c.id == ID).returning(people.c.id),
        {"changed": 1, "name": "Bob"},
    ),
    "a book is retitled, and a label in a CTE": (
        update(books)
        .where(books.c.id == ID)
        .values(title="Uno")
        .add_cte(update(labels).where(labels.c.id == 1).values(name="newer").cte("renamed"))
        .returning(books.c.id),
        {"changed": 1},
    ),
    "a book is retitled by a function that renames a label": (
        update(books).where(books.c.id == ID).values(title=RENAMED).returning(books.c.id),
        {"changed": 1},
    ),
    "a book is added by rows, with a function that renames a label": (
        insert(books)
        .values(
            [{"author_id": 2, "title": database.sql("rename_label(2)", reads=[], changes=[labels])}]
        )
        .returning(books.c.id),
        {},
    ),
    "an author is deleted, as text": (
        database.sql(
            "DELETE FROM made_authors WHERE id = :changed RETURNING id",
            reads=[authors],
            changes=[authors],
        ),
        {"changed": 2},
    ),
}


@pytest.fixture
def tables(services: Services, cache: object) -> Iterator[psycopg.Connection[Any]]:
    """The tables with rows, which a worker reads and writes."""
    url = services.database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(url)
    SHAPES.create_all(engine)
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute(ROWS.encode())
        yield connection
        connection.execute(
            "DROP FUNCTION count_titles, replace_totals, set_initial, rename_label CASCADE"
        )
    SHAPES.drop_all(engine)
    engine.dispose()


async def rows_of(name: str) -> str:
    """The rows of a statement: cached, or from the database."""
    pages, scope = PAGES.get(name, (MARKS if "mark" in name else BOOKS, "1"))
    return (await pages.fetch(REQUEST, f"{name}:1:10", loading(name), scope)).decode()


def loading(name: str) -> Callable[[], Any]:
    async def query(reader: database.Reader) -> Loaded:
        rows = (await reader.execute(READS[name], OF_ADA)).all()
        return Loaded(repr(sorted(map(str, rows))).encode(), reader.depends_on)

    async def load() -> Loaded:
        return await database.read(REQUEST, query)

    return load


async def run(statement: Any, values: dict[str, object]) -> None:
    async with database.transaction(REQUEST, Fences(REQUEST)) as transaction:
        await transaction.change(statement, values)


@pytest.mark.parametrize("write", WRITES)
def test_no_page_is_older_than_a_write(
    worker: Worker, tables: psycopg.Connection[Any], record: Record, write: str
) -> None:
    for name in READS:
        before = worker.run(rows_of(name))
        record.cache = None
        assert worker.run(rows_of(name)) == before
        assert record.cache == "hit", name
    statement, values = WRITES[write]
    worker.run(run(statement, values))

    for name in READS:
        fresh = worker.run(loading(name)()).content.decode()
        assert worker.run(rows_of(name)) == fresh, name


@pytest.mark.parametrize(
    ("write", "kept"),
    [
        (
            "a book of another author is added",
            {"books of an author", "books of an author with their labels counted"},
        ),
        ("a book is replaced, and stays", {"books of an author"}),
        ("a book is marked with another label", {"marks of a label", "books with a mark"}),
        ("a label is deleted, from all books", {"marks of a label"}),
        ("a label is renamed, as text", {"books", "books of an author"}),
        ("an author is deleted, as text", {"labels in a CTE"}),
    ],
)
def test_a_write_leaves_unrelated_pages(
    worker: Worker,
    tables: psycopg.Connection[Any],
    record: Record,
    write: str,
    kept: set[str],
) -> None:
    for name in kept:
        worker.run(rows_of(name))
    worker.run(run(*WRITES[write]))
    for name in kept:
        record.cache = None
        worker.run(rows_of(name))
        assert record.cache == "hit", name


@pytest.mark.parametrize(
    "statement", [delete(books), update(books).values(title="Uno"), delete(labels)], ids=str
)
def test_a_statement_of_many_rows_returns_what_it_says(
    worker: Worker, tables: psycopg.Connection[Any], statement: Any
) -> None:
    (number,) = statement.table.primary_key.columns

    async def execute() -> list[Any]:
        async with database.transaction(REQUEST, Fences(REQUEST)) as transaction:
            return list(await transaction.execute(statement.returning(number)))

    assert {len(row) for row in worker.run(execute())} == {1}


TITLE = bindparam("title", type_=Text)


@pytest.mark.parametrize(
    ("statement", "values", "scope"),
    [
        (insert(books), {"author_id": 2}, "2"),
        (insert(books).values(author_id=3), {}, "3"),
        (insert(books).from_select(["title", "author_id"], select(TITLE, AUTHOR)), OF_ADA, "1"),
        (insert(books).from_select(["title"], select(TITLE)), {"title": "Four"}, None),
        (update(books), {"author_id": 2}, "2"),
        (update(books), {"title": "Uno"}, None),
        (delete(books), {}, None),
    ],
    ids=str,
)
def test_a_write_fences_the_scope_that_its_values_set(
    statement: Executable, values: dict[str, object], scope: str | None
) -> None:
    assert changes_of(statement).tables(values)["made_books"] == scope


def test_a_row_leaves_the_scope_to_which_another_transaction_has_just_moved_it(
    worker: Worker, services: Services, tables: psycopg.Connection[Any]
) -> None:
    """The statement began before that, and waited for the row."""
    statement: Any = WRITES["a book is replaced, and stays"][0]

    async def write() -> set[str] | None:
        async with database.transaction(REQUEST, Fences(REQUEST)) as transaction:
            await transaction.change(statement, {"changed": 2, "author_id": 2})
            return transaction.changed["made_books"]

    async def write_beside(other: psycopg.Connection[Any]) -> set[str] | None:
        other.execute("UPDATE made_books SET author_id = 1 WHERE id = 2")
        writing = asyncio.create_task(write())
        await wait_for_a_lock(tables)
        other.commit()
        return await writing

    with psycopg.connect(services.database_url) as other:
        assert worker.run(write_beside(other)) == {"1", "2"}


@pytest.mark.parametrize(
    "statement",
    [
        text("SELECT name FROM made_labels"),
        select(text("name FROM made_labels")),
        select(labels.c.name).where(text("EXISTS (SELECT FROM made_book_labels)")),
        select(labels.c.id, literal_column("(SELECT count(*) FROM made_book_labels)")),
        select(row_counts.c.row_count),
        database.sql("SELECT row_count FROM row_counts", reads=[row_counts]),
        select(labels.c.name).join(table("made_book_labels"), true()),
        select(labels.c.id, literal_column("(TABLE made_book_labels LIMIT 1)")),
        select(Table("made_labels", MetaData(), key(), schema="public")),
        select(Table("made_labels", MetaData(), Column("id", BigInteger, key="label"))),
        select(Table("made_labels", MetaData(), key(), info={DERIVED_FROM: ("made_label",)})),
    ],
    ids=[
        "text",
        "text in a select",
        "text in a condition",
        "a literal column",
        "counts of no table",
        "counts of any table, as text",
        "a table without a model",
        "a literal column of a table",
        "a table in a schema",
        "a column with a key",
        "a table derived from none",
    ],
)
def test_a_statement_whose_tables_are_unknown_is_rejected(
    worker: Worker, tables: psycopg.Connection[Any], statement: Any
) -> None:
    async def query(reader: database.Reader) -> None:
        await reader.execute(statement)

    with pytest.raises(UnknownTables, match=WHY_UNKNOWN):
        worker.run(database.read(REQUEST, query))


@pytest.mark.parametrize(
    "type_",
    [
        Numeric(),
        CHAR(3),
        CITEXT(),
        Text(collation="any"),
        Enum("one", name="e"),
        Uuid(as_uuid=False),
    ],
    ids=repr,
)
def test_a_scope_whose_equal_values_may_differ_as_text_is_rejected(type_: Any) -> None:
    prices = Table("made_prices", MetaData(), key(), Column("price", type_), info={SCOPE: "price"})
    for derived_from in (
        lambda: dependencies_of(select(prices), {}),
        lambda: changes_of(insert(prices)),
    ):
        with pytest.raises(UnknownTables, match="the scope of made_prices must be an integer"):
            derived_from()


class Initial(StrEnum):
    A = "A"


def test_rows_below_one_that_a_deletion_keeps_do_not_change() -> None:
    metadata = MetaData()
    teams = Table("made_teams", metadata, key())
    Table("made_players", metadata, key(), refers("team_id", "made_teams", ondelete="SET NULL"))
    Table("made_goals", metadata, key(), refers("player_id", "made_players", ondelete="CASCADE"))
    assert changes_of(delete(teams)).tables({}).keys() == {"made_teams", "made_players"}


def test_a_comparison_other_than_equality_selects_the_whole_table() -> None:
    for condition in (books.c.author_id != 1, books.c.author_id >= 1, books.c.author_id.in_([1])):
        assert dependencies_of(select(books).where(condition), {}) == {books.name: ""}


@pytest.mark.parametrize(
    "time",
    [func.now(), func.current_date(), func.age(func.now()), literal_column("LOCALTIME"), NOW],
    ids=str,
)
def test_a_page_that_depends_on_the_time_is_not_cached(time: Any) -> None:
    known = dict(dependencies_of(select(books), {}))
    merge(known, dependencies_of(select(books.c.id).where(time > bindparam("since")), {}))
    merge(known, dependencies_of(select(books), {}))
    assert known == {books.name: None}


def test_a_page_of_rows_since_a_time_that_was_read_before_is_not_cached() -> None:
    known = dict(dependencies_of(select(func.now()), {}))
    merge(known, dependencies_of(select(books), {}))
    assert None in known.values()


def test_a_name_like_that_of_a_function_is_not_the_time() -> None:
    known = select(books.c.id.label("now"), func.now_known(books.c.title), literal_column("'know'"))
    assert dependencies_of(known, {}) == {books.name: ""}


def test_a_row_count_depends_on_the_table_whose_rows_it_counts() -> None:
    assert dependencies_of(row_count("books"), {}) == {"books": ""}


@pytest.mark.parametrize(
    ("scoped", "value"), [(books, "1"), (books, True), (people, Initial.A)], ids=str
)
def test_a_value_of_another_type_than_the_scope_selects_the_whole_table(
    scoped: Table, value: object
) -> None:
    scope = scoped.c[scoped.info[SCOPE]]
    statement = select(scoped).where(scope == bindparam("selected"))
    assert dependencies_of(statement, {"selected": value}) == {scoped.name: ""}


def test_a_parameter_of_another_type_than_the_scope_selects_the_whole_table() -> None:
    """As a CHAR, "A " equals "A"."""
    for type_ in (CHAR(2), CITEXT()):
        statement = select(people).where(people.c.initial == bindparam("initial", type_=type_))
        assert dependencies_of(statement, {"initial": "A "}) == {people.name: ""}


@pytest.mark.parametrize(
    "statement",
    [
        "insert INTO made_labels DEFAULT VALUES",
        "WITH gone AS (DELETE FROM made_labels RETURNING id) SELECT id FROM gone",
        "UPDATE ONLY made_labels AS one SET name = 'newer'",
        'UPDATE "made_labels"\nSET name = null',
        "MERGE INTO made_labels USING made_books ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE made_labels",
    ],
)
def test_text_that_changes_rows_names_their_tables(statement: str) -> None:
    with pytest.raises(UnknownTables, match="must name the tables: changes"):
        database.sql(statement, reads=[labels])


def test_text_that_locks_rows_changes_none() -> None:
    for lock in ("UPDATE OF made_labels", "NO KEY UPDATE"):
        database.sql(f"SELECT id, updated, 'set' FROM made_labels FOR {lock}", reads=[labels])


def test_text_names_no_table_in_a_schema() -> None:
    labelled = Table("made_labels", MetaData(), key(), schema="public")
    with pytest.raises(UnknownTables, match="a model has no schema"):
        database.sql("SELECT name FROM public.made_labels", reads=[labelled])


@pytest.mark.parametrize(
    "statement",
    [
        WRITES["a book is retitled"][0],
        WRITES["a book is added in a CTE"][0],
        WRITES["a label is renamed, as text"][0],
    ],
)
def test_a_statement_that_changes_rows_is_rejected_as_a_read(
    worker: Worker, tables: psycopg.Connection[Any], statement: Any
) -> None:
    async def query(reader: database.Reader) -> None:
        await reader.execute(statement, {"changed": 1})

    async def look_up() -> None:
        async with database.transaction(REQUEST, Fences(REQUEST)) as transaction:
            await transaction.look_up(statement, {"changed": 1})

    for reading in (database.read(REQUEST, query), look_up()):
        with pytest.raises(UnknownTables, match="must be executed by a Transaction"):
            worker.run(reading)


def test_a_page_of_a_table_that_is_written_apart_is_not_cached(
    worker: Worker, tables: psycopg.Connection[Any], record: Record
) -> None:
    async def query(reader: database.Reader) -> Loaded:
        rows = (
            await reader.execute(
                select(log.c.line, select(func.count(labels.c.id)).scalar_subquery())
            )
        ).all()
        return Loaded(repr(rows).encode(), reader.depends_on)

    for _ in range(2):
        worker.run(BOOKS.fetch(REQUEST, "log:1:10", lambda: database.read(REQUEST, query)))
        assert record.cache == "miss"
