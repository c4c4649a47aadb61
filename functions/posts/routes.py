"""HTTP routes of the posts."""

from functools import partial
from typing import Annotated

from fastapi import Path, Query, Response

from blog import database
from blog.cache.fences import Fences
from blog.cache.pages import Loaded, PageCache
from blog.errors import InvalidReference, NotFound
from blog.http.conditional import changed_response, resource_response
from blog.http.idempotency_key import KeyHeader, created_response
from blog.http.ids import Id
from blog.http.pagination import CursorParameters, page_content, page_response
from blog.http.problems import problem_responses
from blog.http.responses import json_response
from blog.http.router import BODY_ERRORS, CREATE_ERRORS, api_router
from blog.idempotency import IdempotentRequest
from posts import queries
from posts.schemas import (
    PostCountPage,
    PostCreate,
    PostListParameters,
    PostPage,
    PostPublic,
    PostUpdate,
)

PATH = "/posts"
STATS_PATH = "/posts/stats"
POST_PATH = "/posts/{post_id:id}"

PostId = Annotated[Id, Path()]

PAGES = PageCache("posts", PostPage)

router = api_router("posts")


@router.post(
    PATH,
    status_code=201,
    response_model=PostPublic,
    responses=problem_responses(*CREATE_ERRORS, InvalidReference),
)
async def create_post(body: PostCreate, key: KeyHeader = None) -> Response:
    """Create a post of a user."""
    insert = partial(queries.insert_post, **body.model_dump())
    request = IdempotentRequest(PATH, body, key)
    async with database.transaction(invalidates=Fences()) as transaction:
        created = await database.execute_idempotently(transaction, request, insert, PostPublic)
        return created_response(created)


@router.get(PATH, response_model=PostPage)
async def list_posts(parameters: Annotated[PostListParameters, Query()]) -> Response:
    """List posts, all or one user's: by `skip`, by `page`, or by following `next`."""
    user_id, newest_first = parameters.user_id, parameters.order == "newest"
    start, limit = parameters.position(PATH), parameters.limit

    async def load() -> Loaded:
        posts = await database.read(
            queries.list_posts, user_id, start, limit, newest_first=newest_first
        )
        content = page_content(PostPage, PATH, parameters, posts)
        return Loaded(content, posts.depends_on, is_empty=not posts.rows)

    key = parameters.cache_key(user_id or "all", parameters.order)
    return page_response(await PAGES.fetch(key, load, scope=str(user_id or "")))


@router.get(STATS_PATH, response_model=PostCountPage)
async def get_post_stats(parameters: Annotated[CursorParameters, Query()]) -> Response:
    """Count the posts of each user that has any, in pages."""
    start, limit = parameters.position(STATS_PATH), parameters.limit
    counts = await database.read(queries.get_post_stats, start, limit)
    return page_response(page_content(PostCountPage, STATS_PATH, parameters, counts))


@router.get(POST_PATH, response_model=PostPublic, responses=problem_responses(NotFound))
async def get_post(post_id: PostId) -> Response:
    """Return one post."""
    return resource_response(PostPublic, await database.read(queries.find_post, post_id))


@router.put(
    POST_PATH,
    response_model=PostPublic,
    responses=problem_responses(NotFound, *BODY_ERRORS, InvalidReference),
)
async def replace_post(post_id: PostId, body: PostCreate) -> Response:
    """Replace a post's user, title and content."""
    async with database.transaction(invalidates=Fences()) as transaction:
        post = await queries.update_post(transaction, post_id, body.model_dump())
        return json_response(PostPublic, post)


@router.patch(
    POST_PATH,
    response_model=PostPublic,
    responses=problem_responses(NotFound, *BODY_ERRORS, InvalidReference),
)
async def update_post(post_id: PostId, body: PostUpdate) -> Response:
    """Change the given fields of a post."""
    if not body:
        own = await database.read_as_writer(queries.find_own_post, post_id)
        return resource_response(PostPublic, own)
    async with database.transaction(invalidates=Fences()) as transaction:
        post = await queries.update_post(transaction, post_id, body)
        return changed_response(PostPublic, post)


@router.delete(POST_PATH, status_code=204, responses=problem_responses(NotFound))
async def delete_post(post_id: PostId) -> None:
    """Delete a post."""
    async with database.transaction(invalidates=Fences()) as transaction:
        await queries.delete_post(transaction, post_id)
