"""Request and response schemas of the posts."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from blog.http.ids import Id, IdParameter
from blog.http.pagination import CursorPage, OffsetPage, PageParameters
from blog.http.parameters import non_nullable
from blog.http.text import Content, Title

Order = Literal["oldest", "newest"]
AuthorId = Annotated[Id, Field(description="The author's id, an integer: `1.0` is rejected.")]


class PostCreate(BaseModel):
    """All fields of a post, to create or replace one."""

    model_config = ConfigDict(extra="forbid")

    user_id: AuthorId
    title: Title
    content: Content


class PostUpdate(TypedDict, total=False):
    """The fields of a post to change; a field that is left out keeps its value."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    user_id: AuthorId
    title: Title
    content: Content


class PostPublic(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: Id
    user_id: Id
    title: str
    content: str
    created_at: datetime


class PostPage(OffsetPage[PostPublic]):
    """A page of the posts."""


class PostCount(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    user_id: Id
    post_count: int


class PostCountPage(CursorPage[PostCount]):
    """A page of the users that have posts, in the order of their ids, with their post counts."""


class PostListParameters(PageParameters):
    user_id: Annotated[
        IdParameter | None,
        Field(description="Only this user's posts.", json_schema_extra=non_nullable),
    ] = None
    order: Annotated[Order, Field(description="Which posts come first.")] = "oldest"
