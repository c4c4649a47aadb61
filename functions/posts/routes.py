"""HTTP routes of the posts."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from blog import database
from blog.cache.lists import POSTS
from blog.cache.pages import Loaded
from blog.errors import (
    ContentTooLarge,
    InvalidReference,
    InvalidRequest,
    MalformedJson,
    NotFound,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from blog.http.idempotency_key import KEY_ERRORS, KeyHeader, created_response
from blog.http.ids import Id
from blog.http.pagination import (
    CursorParameters,
    next_url_of,
    page_content,
    page_count,
    page_key,
    page_number,
    page_response,
)
from blog.http.problems import problem_responses
from blog.http.responses import json_response
from blog.idempotency import IdempotentRequest
from blog.pagination import PagePosition
from posts import queries
from posts.schemas import (
    Post,
    PostCountPage,
    PostCreate,
    PostListParameters,
    PostPage,
    PostUpdate,
)

PATH = "/posts"
STATS_PATH = "/posts/stats"
POST_PATH = "/posts/{post_id:id}"
BODY_ERRORS = (MalformedJson, ContentTooLarge, UnsupportedMediaType, InvalidReference)
CREATE_ERRORS = (*BODY_ERRORS, *KEY_ERRORS)

PostId = Annotated[Id, Path()]

router = APIRouter(tags=["posts"], responses=problem_responses(InvalidRequest, ServiceUnavailable))


@router.post(
    PATH, status_code=201, response_model=Post, responses=problem_responses(*CREATE_ERRORS)
)
async def create_post(body: PostCreate, key: KeyHeader = None) -> Response:
    """Create a post of a user."""
    insert = partial(queries.insert_post, **body.model_dump())
    request = IdempotentRequest(PATH, body, key)
    created = await database.write(
        POSTS.on_write(), database.execute_idempotently, request, insert, Post
    )
    return created_response(created)


@router.get(PATH, response_model=PostPage)
async def list_posts(parameters: Annotated[PostListParameters, Query()]) -> Response:
    """List posts, all or one user's: by `skip`, by `page`, or by following `next`."""
    user_id, order, limit = parameters.user_id, parameters.order, parameters.limit
    cursor_scope = f"{PATH} {user_id} {order}"
    offset = parameters.offset()
    start = PagePosition(offset or 0, parameters.after(cursor_scope))

    async def load() -> Loaded:
        newest_first = order == "newest"
        posts = await database.read(
            queries.list_posts, user_id, start, limit, newest_first=newest_first
        )
        page = {
            "data": posts.rows,
            "total": posts.total,
            "page": page_number(offset, limit),
            "limit": limit,
            "total_pages": page_count(posts.total, limit),
            "next": next_url_of(
                PATH, cursor_scope, posts.next_key, user_id=user_id, order=order, limit=limit
            ),
        }
        return Loaded(page_content(PostPage.model_validate(page)), is_empty=not posts.rows)

    key = page_key(offset, limit, user_id or "all", order)
    return page_response(await POSTS.fetch(key, load))


@router.get(STATS_PATH, response_model=PostCountPage)
async def count_posts(parameters: Annotated[CursorParameters, Query()]) -> Response:
    """Count the posts of each user that has any, in pages."""
    start, limit = PagePosition(after=parameters.after(STATS_PATH)), parameters.limit
    counts = await database.read(queries.count_posts, start, limit)
    following = next_url_of(STATS_PATH, STATS_PATH, counts.next_key, limit=limit)
    page = {"data": counts.rows, "limit": limit, "next": following}
    return page_response(page_content(PostCountPage.model_validate(page)))


@router.get(POST_PATH, response_model=Post, responses=problem_responses(NotFound))
async def get_post(post_id: PostId) -> Response:
    """Show one post."""
    return json_response(Post.model_validate(await database.read(queries.find_post, post_id)))


@router.put(POST_PATH, response_model=Post, responses=problem_responses(NotFound, *BODY_ERRORS))
async def replace_post(post_id: PostId, body: PostCreate) -> Response:
    """Replace a post's user, title and content."""
    post = await database.write(POSTS.on_write(), queries.update_post, post_id, body.model_dump())
    return json_response(Post.model_validate(post))


@router.patch(POST_PATH, response_model=Post, responses=problem_responses(NotFound, *BODY_ERRORS))
async def update_post(post_id: PostId, body: PostUpdate) -> Response:
    """Change what is given of a post."""
    if not body:
        return await get_post(post_id)
    post = await database.write(POSTS.on_write(), queries.update_post, post_id, body)
    return json_response(Post.model_validate(post))


@router.delete(POST_PATH, status_code=204, responses=problem_responses(NotFound))
async def delete_post(post_id: PostId) -> None:
    """Delete a post."""
    await database.write(POSTS.on_delete(), queries.delete_post, post_id)
