"""HTTP routes of the users."""

from functools import partial
from typing import Annotated

from fastapi import Path, Query, Response

from blog import database
from blog.cache.fences import Fences
from blog.cache.pages import Loaded, PageCache
from blog.errors import Conflict, NotFound
from blog.http.conditional import changed_response, resource_response
from blog.http.idempotency_key import KeyHeader, created_response
from blog.http.ids import Id
from blog.http.pagination import PageParameters, page_content, page_response
from blog.http.problems import problem_responses
from blog.http.responses import json_response
from blog.http.router import BODY_ERRORS, CREATE_ERRORS, api_router
from blog.idempotency import IdempotentRequest
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

PATH = "/users"
SEARCH_PATH = "/users/search"
STATS_PATH = "/users/stats"
USER_PATH = "/users/{user_id:id}"

UserId = Annotated[Id, Path()]

PAGES = PageCache("users", UserPage)

router = api_router("users")


@router.post(
    PATH,
    status_code=201,
    response_model=UserPublic,
    responses=problem_responses(*CREATE_ERRORS, Conflict),
)
async def create_user(body: UserCreate, key: KeyHeader = None) -> Response:
    """Create a user. The e-mail address must be unique, case-insensitively."""
    insert = partial(queries.insert_user, name=body.name, email=body.email)
    request = IdempotentRequest(PATH, body, key)
    async with database.transaction(invalidates=Fences()) as transaction:
        created = await database.execute_idempotently(transaction, request, insert, UserPublic)
        return created_response(created)


@router.get(PATH, response_model=UserPage)
async def list_users(parameters: Annotated[PageParameters, Query()]) -> Response:
    """List users, oldest first: by `skip`, by `page`, or by following `next`."""
    start, limit = parameters.position(PATH), parameters.limit

    async def load() -> Loaded:
        users = await database.read(queries.list_users, start, limit)
        content = page_content(UserPage, PATH, parameters, users)
        return Loaded(content, users.depends_on, is_empty=not users.rows)

    return page_response(await PAGES.fetch(parameters.cache_key(), load))


@router.get(SEARCH_PATH, response_model=UserSearchPage)
async def search_users(parameters: Annotated[UserSearchParameters, Query()]) -> Response:
    """Search users by a substring of the name, by date of creation, or both, oldest first."""
    name, created_after = parameters.name, parameters.created_after
    start, limit = parameters.position(SEARCH_PATH), parameters.limit
    users = await database.read(search.search_users, name, created_after, start, limit)
    return page_response(page_content(UserSearchPage, SEARCH_PATH, parameters, users))


@router.get(STATS_PATH, response_model=UserStats)
async def get_user_stats() -> Response:
    """Count all users, and those created in the last 7 days."""
    return json_response(UserStats, await database.read(queries.get_user_stats))


@router.get(USER_PATH, response_model=UserPublic, responses=problem_responses(NotFound))
async def get_user(user_id: UserId) -> Response:
    """Return one user."""
    return resource_response(UserPublic, await database.read(queries.find_user, user_id))


@router.put(
    USER_PATH,
    response_model=UserPublic,
    responses=problem_responses(NotFound, *BODY_ERRORS, Conflict),
)
async def replace_user(user_id: UserId, body: UserCreate) -> Response:
    """Replace a user's name and e-mail address."""
    async with database.transaction(invalidates=Fences()) as transaction:
        user = await queries.update_user(transaction, user_id, body.model_dump())
        return json_response(UserPublic, user)


@router.patch(
    USER_PATH,
    response_model=UserPublic,
    responses=problem_responses(NotFound, *BODY_ERRORS, Conflict),
)
async def update_user(user_id: UserId, body: UserUpdate) -> Response:
    """Change the given fields of a user."""
    if not body:
        own = await database.read_as_writer(queries.find_own_user, user_id)
        return resource_response(UserPublic, own)
    async with database.transaction(invalidates=Fences()) as transaction:
        user = await queries.update_user(transaction, user_id, body)
        return changed_response(UserPublic, user)


@router.delete(USER_PATH, status_code=204, responses=problem_responses(NotFound))
async def delete_user(user_id: UserId) -> None:
    """Delete a user and the user's posts."""
    async with database.transaction(invalidates=Fences()) as transaction:
        await queries.delete_user(transaction, user_id)
