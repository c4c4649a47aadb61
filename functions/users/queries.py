"""SQL of the users, except the search: statements built once, each run in one round trip."""

from datetime import timedelta
from functools import cache

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    and_,
    cast,
    func,
    select,
    true,
)

from shared.database import Item, PagedQuery, Reader
from shared.database.models import BLOCK_IDS, row_counts, users

RECENT = timedelta(days=7)

ITEM = Item(users, owner=users.c.id)
ALL = PagedQuery(select(*users.c), users.c.id, counted=True)


async def get_user_stats(reader: Reader) -> Row[int, int]:
    """Return `total_users` and `users_last_7_days`."""
    return (await reader.execute(_counts())).one()


def in_block(block: ColumnElement[int]) -> ColumnElement[bool]:
    """Return the condition that a user's id is in that block of ids."""
    return and_(users.c.id >= block * BLOCK_IDS, users.c.id < (block + 1) * BLOCK_IDS)


@cache
def _counts() -> Select[int, int]:
    """Return the query of the statistics.

    It adds up the row counts of blocks, and counts users only in blocks that are partly recent.
    """
    since = func.now() - RECENT
    blocks = (
        select(
            row_counts.c.block,
            func.sum(row_counts.c.row_count).label("rows"),
            func.min(row_counts.c.oldest).label("oldest"),
            func.max(row_counts.c.newest).label("newest"),
        )
        .where(row_counts.c.table_name == users.name)
        .group_by(row_counts.c.block)
        .cte("blocks")
    )
    rows = cast(func.coalesce(func.sum(blocks.c.rows), 0), BigInteger)
    recent_blocks = select(rows).where(blocks.c.oldest >= since).scalar_subquery()
    counted = (
        select(func.count().label("recent"))
        .where(in_block(blocks.c.block), users.c.created_at >= since)
        .lateral()
    )
    recent_users = (
        select(cast(func.coalesce(func.sum(counted.c.recent), 0), BigInteger))
        .join_from(blocks, counted, true())
        .where(blocks.c.oldest < since, blocks.c.newest >= since)
        .scalar_subquery()
    )
    return select(
        select(rows).scalar_subquery().label("total_users"),
        (recent_blocks + recent_users).label("users_last_7_days"),
    )
