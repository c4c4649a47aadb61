"""HTTP routes of the posts."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query, Response

from blog.answers import json_answer
from blog.creation import KEY_ERRORS, Creation, KeyHeader
from blog.errors import (
    ContentTooLarge,
    InvalidRequest,
    MalformedBody,
    NotFound,
    ServiceUnavailable,
    UnknownReference,
    UnsupportedMediaType,
    problem_responses,
)
from blog.ids import Id
from blog.lazy import LazyModule
from blog.pagination import (
    CursorParameters,
    next_path,
    page_content,
    page_count,
    page_number,
    page_response,
)
from blog.start import Start
from posts import cache_policy
from posts.schemas import (
    Post,
    PostBody,
    PostChanges,
    PostCountPage,
    PostListParameters,
    PostPage,
)

if TYPE_CHECKING:
    from blog import database, idempotency
    from posts import queries
else:  # a page from the cache needs none of them
    database = LazyModule("blog.database")
    idempotency = LazyModule("blog.idempotency")
    queries = LazyModule("posts.queries")

PATH = "/posts"
STATS_PATH = "/posts/stats"
POST_PATH = "/posts/{post_id:id}"
BODY_ERRORS = (MalformedBody, ContentTooLarge, UnsupportedMediaType, UnknownReference)
CREATE_ERRORS = (*BODY_ERRORS, *KEY_ERRORS)

PostId = Annotated[Id, Path()]

router = APIRouter(tags=["posts"], responses=problem_responses(InvalidRequest, ServiceUnavailable))


@router.post(
    PATH, status_code=201, response_model=Post, responses=problem_responses(*CREATE_ERRORS)
)
async def create_post(body: PostBody, key: KeyHeader = None) -> Response:
    """Create a post of a user."""
    insert = partial(queries.insert_post, **body.model_dump())
    creation = Creation(PATH, body, key)
    created = await database.write(
        cache_policy.post_changes(), idempotency.create_once, creation, insert, Post
    )
    return created.response()


@router.get(PATH, response_model=PostPage)
async def list_posts(parameters: Annotated[PostListParameters, Query()]) -> Response:
    """List posts, all or one user's: by `skip`, by `page`, or by following `next`."""
    user_id, order, limit = parameters.user_id, parameters.order, parameters.limit
    list_name = f"{PATH} {user_id} {order}"
    offset = parameters.offset()
    start = Start(offset or 0, parameters.after(list_name))

    async def load() -> bytes:
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
            "next": next_path(
                PATH, list_name, posts.last_key, user_id=user_id, order=order, limit=limit
            ),
        }
        return page_content(PostPage.model_validate(page))

    key = cache_policy.page_key(user_id, order, offset, limit)
    return page_response(await cache_policy.POST_PAGES.fetch(key, load))


@router.get(STATS_PATH, response_model=PostCountPage)
async def count_posts(parameters: Annotated[CursorParameters, Query()]) -> Response:
    """Count the posts of each user that has any, in pages."""
    start, limit = Start(after=parameters.after(STATS_PATH)), parameters.limit
    counts = await database.read(queries.count_posts, start, limit)
    following = next_path(STATS_PATH, STATS_PATH, counts.last_key, limit=limit)
    page = {"data": counts.rows, "limit": limit, "next": following}
    return page_response(page_content(PostCountPage.model_validate(page)))


@router.get(POST_PATH, response_model=Post, responses=problem_responses(NotFound))
async def get_post(post_id: PostId) -> Response:
    """Show one post."""
    return json_answer(Post.model_validate(await database.read(queries.find_post, post_id)))


@router.put(POST_PATH, response_model=Post, responses=problem_responses(NotFound, *BODY_ERRORS))
async def replace_post(post_id: PostId, body: PostBody) -> Response:
    """Replace a post's user, title and content."""
    changes = cache_policy.post_changes()
    post = await database.write(changes, queries.update_post, post_id, body.model_dump())
    return json_answer(Post.model_validate(post))


@router.patch(POST_PATH, response_model=Post, responses=problem_responses(NotFound, *BODY_ERRORS))
async def change_post(post_id: PostId, body: PostChanges) -> Response:
    """Change what is given of a post."""
    if not body:
        return await get_post(post_id)
    changes = cache_policy.post_changes()
    post = await database.write(changes, queries.update_post, post_id, body)
    return json_answer(Post.model_validate(post))


@router.delete(POST_PATH, status_code=204, responses=problem_responses(NotFound))
async def delete_post(post_id: PostId) -> None:
    """Delete a post."""
    await database.write(cache_policy.post_changes(), queries.delete_post, post_id)
