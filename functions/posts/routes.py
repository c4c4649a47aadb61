"""Posts, each of one user."""

from posts import queries
from posts.schemas import (
    PostCountPage,
    PostCreate,
    PostListParameters,
    PostPage,
    PostPublic,
    PostUpdate,
)
from shared.errors import InvalidReference
from shared.http.fields import Id
from shared.http.pagination import CursorParameters
from shared.http.resource import PageResult, Reader, Resource, Row, Transaction

posts = Resource("posts", "post", PostPublic)


@posts.create(permission="posts:write", raises=[InvalidReference])
async def create_post(transaction: Transaction, body: PostCreate) -> Row:
    """Create a post of a user."""
    return await queries.ITEM.insert(transaction, body.model_dump())


@posts.list(PostPage, cached=True, scope="user_id")
async def list_posts(reader: Reader, query: PostListParameters) -> PageResult:
    """List posts, all or one user's: by `skip`, by `page`, or by following `next`."""
    return await queries.list_posts(
        reader, query.user_id, query.position, query.limit, newest_first=query.order == "newest"
    )


@posts.list(PostCountPage, "/stats")
async def get_post_stats(reader: Reader, query: CursorParameters) -> PageResult:
    """Count the posts of each user that has any, in pages."""
    return await queries.COUNTS.fetch(reader, query.position, query.limit)


@posts.read()
async def get_post(reader: Reader, post_id: Id) -> Row:
    """Return one post."""
    return await queries.ITEM.find(reader, post_id)


@posts.replace(raises=[InvalidReference])
async def replace_post(transaction: Transaction, post_id: Id, body: PostCreate) -> Row:
    """Replace a post's user, title and content."""
    return await queries.ITEM.update(transaction, post_id, body.model_dump())


@posts.update(raises=[InvalidReference])
async def update_post(transaction: Transaction, post_id: Id, body: PostUpdate) -> Row:
    """Change the given fields of a post."""
    return await queries.ITEM.update(transaction, post_id, body)


@posts.delete()
async def delete_post(transaction: Transaction, post_id: Id) -> None:
    """Delete a post."""
    await queries.ITEM.delete(transaction, post_id)
