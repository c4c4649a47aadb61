"""HTTP routes of the users."""

from functools import partial
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Response

from blog.answers import json_answer
from blog.creation import KEY_ERRORS, Creation, KeyHeader
from blog.errors import (
    AlreadyTaken,
    ContentTooLarge,
    InvalidRequest,
    MalformedBody,
    NotFound,
    ServiceUnavailable,
    UnsupportedMediaType,
    problem_responses,
)
from blog.ids import Id
from blog.lazy import LazyModule
from blog.pagination import (
    PageParameters,
    next_path,
    page_content,
    page_count,
    page_number,
    page_response,
)
from blog.start import Start
from users import cache_policy
from users.schemas import (
    User,
    UserBody,
    UserChanges,
    UserPage,
    UserSearchPage,
    UserSearchParameters,
    UserStats,
)

if TYPE_CHECKING:
    from blog import database, idempotency
    from users import queries
else:  # a page from the cache needs none of them
    database = LazyModule("blog.database")
    idempotency = LazyModule("blog.idempotency")
    queries = LazyModule("users.queries")

PATH = "/users"
SEARCH_PATH = "/users/search"
USER_PATH = "/users/{user_id:id}"
BODY_ERRORS = (MalformedBody, ContentTooLarge, UnsupportedMediaType, AlreadyTaken)
CREATE_ERRORS = (*BODY_ERRORS, *KEY_ERRORS)

UserId = Annotated[Id, Path()]

router = APIRouter(tags=["users"], responses=problem_responses(InvalidRequest, ServiceUnavailable))


@router.post(
    PATH, status_code=201, response_model=User, responses=problem_responses(*CREATE_ERRORS)
)
async def create_user(body: UserBody, key: KeyHeader = None) -> Response:
    """Create a user. The e-mail address must be nobody else's, whatever its case."""
    insert = partial(queries.insert_user, name=body.name, email=body.email)
    creation = Creation(PATH, body, key)
    created = await database.write(
        cache_policy.user_changes(), idempotency.create_once, creation, insert, User
    )
    return created.response()


@router.get(PATH, response_model=UserPage)
async def list_users(parameters: Annotated[PageParameters, Query()]) -> Response:
    """List users, oldest first: by `skip`, by `page`, or by following `next`."""
    offset, limit = parameters.offset(), parameters.limit
    start = Start(offset or 0, parameters.after(PATH))

    async def load() -> bytes:
        users = await database.read(queries.list_users, start, limit)
        page = {
            "data": users.rows,
            "total": users.total,
            "page": page_number(offset, limit),
            "limit": limit,
            "total_pages": page_count(users.total, limit),
            "next": next_path(PATH, PATH, users.last_key, limit=limit),
        }
        return page_content(UserPage.model_validate(page))

    key = cache_policy.page_key(offset, limit)
    return page_response(await cache_policy.USER_PAGES.fetch(key, load))


@router.get(SEARCH_PATH, response_model=UserSearchPage)
async def search_users(parameters: Annotated[UserSearchParameters, Query()]) -> Response:
    """Search users by a part of their name, by when they were created, or both, oldest first."""
    searched = parameters.model_dump(
        mode="json", include={"name", "created_after"}, exclude_defaults=True
    )
    list_name = f"{SEARCH_PATH}?{urlencode(searched)}"
    start = Start(after=parameters.after(list_name))
    name, created_after, limit = parameters.name, parameters.created_after, parameters.limit
    users = await database.read(queries.search_users, name, created_after, start, limit)
    following = next_path(SEARCH_PATH, list_name, users.last_key, **searched, limit=limit)
    page = {"data": users.rows, "limit": limit, "next": following}
    return page_response(page_content(UserSearchPage.model_validate(page)))


@router.get("/users/stats", response_model=UserStats)
async def count_users() -> Response:
    """Count all users, and those created in the last 7 days."""
    return json_answer(UserStats.model_validate(await database.read(queries.count_users)))


@router.get(USER_PATH, response_model=User, responses=problem_responses(NotFound))
async def get_user(user_id: UserId) -> Response:
    """Show one user."""
    return json_answer(User.model_validate(await database.read(queries.find_user, user_id)))


@router.put(USER_PATH, response_model=User, responses=problem_responses(NotFound, *BODY_ERRORS))
async def replace_user(user_id: UserId, body: UserBody) -> Response:
    """Replace a user's name and e-mail address."""
    changes = cache_policy.user_changes()
    user = await database.write(changes, queries.update_user, user_id, body.model_dump())
    return json_answer(User.model_validate(user))


@router.patch(USER_PATH, response_model=User, responses=problem_responses(NotFound, *BODY_ERRORS))
async def change_user(user_id: UserId, body: UserChanges) -> Response:
    """Change what is given of a user."""
    if not body:
        return await get_user(user_id)
    changes = cache_policy.user_changes()
    user = await database.write(changes, queries.update_user, user_id, body)
    return json_answer(User.model_validate(user))


@router.delete(USER_PATH, status_code=204, responses=problem_responses(NotFound))
async def delete_user(user_id: UserId) -> None:
    """Delete a user with all posts."""
    await database.write(cache_policy.user_vanishes(), queries.delete_user, user_id)
