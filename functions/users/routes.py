"""HTTP routes of the users."""

from functools import partial
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Response

from blog import database
from blog.cache.lists import USERS
from blog.cache.pages import Loaded
from blog.errors import (
    Conflict,
    ContentTooLarge,
    InvalidRequest,
    MalformedJson,
    NotFound,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from blog.http.idempotency_key import KEY_ERRORS, KeyHeader, created_response
from blog.http.ids import Id
from blog.http.pagination import (
    PageParameters,
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
from users import queries, search
from users.schemas import (
    User,
    UserCreate,
    UserPage,
    UserSearchPage,
    UserSearchParameters,
    UserStats,
    UserUpdate,
)

PATH = "/users"
SEARCH_PATH = "/users/search"
USER_PATH = "/users/{user_id:id}"
BODY_ERRORS = (MalformedJson, ContentTooLarge, UnsupportedMediaType, Conflict)
CREATE_ERRORS = (*BODY_ERRORS, *KEY_ERRORS)

UserId = Annotated[Id, Path()]

router = APIRouter(tags=["users"], responses=problem_responses(InvalidRequest, ServiceUnavailable))


@router.post(
    PATH, status_code=201, response_model=User, responses=problem_responses(*CREATE_ERRORS)
)
async def create_user(body: UserCreate, key: KeyHeader = None) -> Response:
    """Create a user. The e-mail address must be nobody else's, whatever its case."""
    insert = partial(queries.insert_user, name=body.name, email=body.email)
    request = IdempotentRequest(PATH, body, key)
    created = await database.write(
        USERS.on_write(), database.execute_idempotently, request, insert, User
    )
    return created_response(created)


@router.get(PATH, response_model=UserPage)
async def list_users(parameters: Annotated[PageParameters, Query()]) -> Response:
    """List users, oldest first: by `skip`, by `page`, or by following `next`."""
    offset, limit = parameters.offset(), parameters.limit
    start = PagePosition(offset or 0, parameters.after(PATH))

    async def load() -> Loaded:
        users = await database.read(queries.list_users, start, limit)
        page = {
            "data": users.rows,
            "total": users.total,
            "page": page_number(offset, limit),
            "limit": limit,
            "total_pages": page_count(users.total, limit),
            "next": next_url_of(PATH, PATH, users.next_key, limit=limit),
        }
        return Loaded(page_content(UserPage.model_validate(page)), is_empty=not users.rows)

    key = page_key(offset, limit)
    return page_response(await USERS.fetch(key, load))


@router.get(SEARCH_PATH, response_model=UserSearchPage)
async def search_users(parameters: Annotated[UserSearchParameters, Query()]) -> Response:
    """Search users by a part of their name, by when they were created, or both, oldest first."""
    searched = parameters.model_dump(
        mode="json", include={"name", "created_after"}, exclude_defaults=True
    )
    cursor_scope = f"{SEARCH_PATH}?{urlencode(searched)}"
    start = PagePosition(after=parameters.after(cursor_scope))
    name, created_after, limit = parameters.name, parameters.created_after, parameters.limit
    users = await database.read(search.search_users, name, created_after, start, limit)
    following = next_url_of(SEARCH_PATH, cursor_scope, users.next_key, **searched, limit=limit)
    page = {"data": users.rows, "limit": limit, "next": following}
    return page_response(page_content(UserSearchPage.model_validate(page)))


@router.get("/users/stats", response_model=UserStats)
async def count_users() -> Response:
    """Count all users, and those created in the last 7 days."""
    return json_response(UserStats.model_validate(await database.read(queries.count_users)))


@router.get(USER_PATH, response_model=User, responses=problem_responses(NotFound))
async def get_user(user_id: UserId) -> Response:
    """Show one user."""
    return json_response(User.model_validate(await database.read(queries.find_user, user_id)))


@router.put(USER_PATH, response_model=User, responses=problem_responses(NotFound, *BODY_ERRORS))
async def replace_user(user_id: UserId, body: UserCreate) -> Response:
    """Replace a user's name and e-mail address."""
    user = await database.write(USERS.on_write(), queries.update_user, user_id, body.model_dump())
    return json_response(User.model_validate(user))


@router.patch(USER_PATH, response_model=User, responses=problem_responses(NotFound, *BODY_ERRORS))
async def update_user(user_id: UserId, body: UserUpdate) -> Response:
    """Change what is given of a user."""
    if not body:
        return await get_user(user_id)
    user = await database.write(USERS.on_write(), queries.update_user, user_id, body)
    return json_response(User.model_validate(user))


@router.delete(USER_PATH, status_code=204, responses=problem_responses(NotFound))
async def delete_user(user_id: UserId) -> None:
    """Delete a user with all posts."""
    await database.write(USERS.on_delete(), queries.delete_user, user_id)
