"""Users, who write posts."""

from shared.errors import AlreadyTaken
from shared.http.fields import Id
from shared.http.pagination import PageParameters
from shared.http.resource import PageResult, Reader, Resource, Row, Transaction
from users import queries, search
from users.schemas import (
    UserCreate,
    UserPage,
    UserPublic,
    UserSearchPage,
    UserSearchParameters,
    UserStats,
    UserUpdate,
)

users = Resource("users", "user", UserPublic)


@users.create(raises=[AlreadyTaken])
async def create_user(transaction: Transaction, body: UserCreate) -> Row:
    """Create a user. The e-mail address must be unique, case-insensitively."""
    return await queries.ITEM.insert(transaction, body.model_dump())


@users.list(UserPage, cached=True)
async def list_users(reader: Reader, query: PageParameters) -> PageResult:
    """List users, oldest first: by `skip`, by `page`, or by following `next`."""
    return await queries.ALL.fetch(reader, query.position, query.limit)


@users.list(UserSearchPage, "/search")
async def search_users(reader: Reader, query: UserSearchParameters) -> PageResult:
    """Search users by a substring of the name, by date of creation, or both, oldest first."""
    return await search.search_users(
        reader, query.name, query.created_after, query.position, query.limit
    )


@users.read("/stats", UserStats)
async def get_user_stats(reader: Reader) -> object:
    """Count all users, and those created in the last 7 days."""
    return await queries.get_user_stats(reader)


@users.read()
async def get_user(reader: Reader, user_id: Id) -> Row:
    """Return one user."""
    return await queries.ITEM.find(reader, user_id)


@users.replace(raises=[AlreadyTaken])
async def replace_user(transaction: Transaction, user_id: Id, body: UserCreate) -> Row:
    """Replace a user's name and e-mail address."""
    return await queries.ITEM.update(transaction, user_id, body.model_dump())


@users.update(raises=[AlreadyTaken])
async def update_user(transaction: Transaction, user_id: Id, body: UserUpdate) -> Row:
    """Change the given fields of a user."""
    return await queries.ITEM.update(transaction, user_id, body)


@users.delete()
async def delete_user(transaction: Transaction, user_id: Id) -> None:
    """Delete a user and the user's posts."""
    await queries.ITEM.delete(transaction, user_id)
