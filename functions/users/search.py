"""The search for users: by a substring of the name, by date of creation, or both.

One statement scans the blocks of ids, oldest first, until the page is full. In each block an index
finds the names, so the cost of a search depends neither on the length and alphabet of the term, nor
on the number of matches: a rare name costs one index look-up per block (about 10 µs), a frequent
one reading the users of a block or two. Blocks that are too old are skipped.

The index holds the letters, bigrams and trigrams of each name, prefixed with the block, so that a
look-up reads only the entries of its block. Functions of the database (migration 0006) split names
(`name_parts`) and search terms (`search_parts`), and make both case-insensitive (`fold_case`).
"""

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    Subquery,
    Text,
    bindparam,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from shared.database import AFTER, ROWS, Reader, to_page
from shared.database.models import BLOCK_IDS, NAME_PARTS, row_counts, users
from shared.page import PagePosition, PageResult
from users.queries import in_block

NAME = bindparam("name", type_=Text)
CREATED_AFTER = bindparam("created_after", type_=DateTime(timezone=True))
PARTS_OF_A_NAME = literal_column(NAME_PARTS, ARRAY(Text))


async def search_users(
    reader: Reader,
    name: str,
    created_after: datetime | None,
    start: PagePosition,
    limit: int,
) -> PageResult:
    """Return a page of users whose name contains `name`, created at `created_after` or later."""
    statement = search_statement(by_name=name != "", by_date=created_after is not None)
    parameters = {
        AFTER.key: start.key(int) or 0,
        ROWS.key: limit + 1,
        "name": name,
        "created_after": created_after,
    }
    rows = (await reader.execute(statement, parameters)).all()
    return to_page(rows, users.c.id, limit)


@cache
def search_statement(*, by_name: bool, by_date: bool) -> Select[*tuple[Any, ...]]:
    """Return the query of the first ROWS matches after the id AFTER."""
    if not by_name and not by_date:
        return select(*users.c).where(users.c.id > AFTER).order_by(users.c.id).limit(ROWS)
    blocks = _blocks(by_date=by_date)
    matches = select(*users.c)
    if by_date:
        matches = matches.where(users.c.created_at >= CREATED_AFTER)
    if by_name:
        named = matches.where(_has_name(), PARTS_OF_A_NAME.contains(_searched_parts(blocks)))
        # Without OFFSET PostgreSQL may read users in the order of ids, expecting matches early.
        matches = select(named.correlate(blocks).offset(0).lateral("named"))
    else:
        matches = matches.where(in_block(blocks.c.block))
    id_ = matches.selected_columns.id
    found = matches.where(id_ > AFTER).order_by(id_).limit(ROWS).lateral("found")
    scan = select(*found.c).join_from(blocks, found, true())
    return scan.order_by(blocks.c.block, found.c.id).limit(ROWS)


def _blocks(*, by_date: bool) -> Subquery:
    blocks = (
        select(row_counts.c.block)
        .where(row_counts.c.table_name == users.name, row_counts.c.block >= AFTER // BLOCK_IDS)
        .group_by(row_counts.c.block)
    )
    if by_date:
        blocks = blocks.having(func.max(row_counts.c.newest) >= CREATED_AFTER)
    return blocks.subquery("blocks")


def _has_name() -> ColumnElement[bool]:
    return func.strpos(func.fold_case(users.c.name), func.fold_case(NAME)) > 0


def _searched_parts(blocks: Subquery) -> ColumnElement[Any]:
    return func.search_parts(blocks.c.block, func.fold_case(NAME), type_=ARRAY(Text))
