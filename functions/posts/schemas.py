"""Request and response schemas of the posts."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from shared.http.fields import Body, Changes, Content, Id, IdParameter, Shown, Title
from shared.http.pagination import CursorPage, OffsetPage, PageParameters

Order = Literal["oldest", "newest"]
AuthorId = Annotated[Id, Field(description="The author's id, an integer: `1.0` is rejected.")]


class PostCreate(Body):
    """All fields of a post, to create or replace one."""

    user_id: AuthorId
    title: Title
    content: Content


class PostUpdate(Changes, total=False):
    """The fields of a post to change; a field that is left out keeps its value."""

    user_id: AuthorId
    title: Title
    content: Content


class PostPublic(Shown):
    id: Id
    user_id: Id
    title: str
    content: str
    created_at: datetime


class PostPage(OffsetPage[PostPublic]):
    """A page of posts."""


class PostCount(Shown):
    user_id: Id
    post_count: int


class PostCountPage(CursorPage[PostCount]):
    """A page of users that have posts, in the order of their ids, with their post counts."""


class PostListParameters(PageParameters):
    user_id: Annotated[IdParameter | None, Field(description="Only this user's posts.")] = None
    order: Annotated[Order, Field(description="Which posts come first.")] = "oldest"
