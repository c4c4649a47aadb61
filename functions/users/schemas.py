"""Request and response schemas of the users."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from blog.http.ids import Id
from blog.http.pagination import CursorPage, CursorParameters, OffsetPage
from blog.http.parameters import non_nullable
from blog.http.text import EmailAddress, Name, NameQuery
from blog.http.timestamps import DateOrDatetime

NAME_DESCRIPTION = (
    "Part of the name, whatever its case. Two characters are equal if their upper case has the "
    "same lower case, by Unicode's simple case mappings: `ΓΙΏΡΓΟΣ` finds `Γιώργος`, and I and i, "
    "with a dot or without, are one letter. ß equals ss: `STRASSE` finds `Straße`. Accents count: "
    "`jose` does not find `José`, in whichever of Unicode's forms the é is written. `%` and `_` "
    "stand for themselves."
)


class UserCreate(BaseModel):
    """A whole user, as it is created or replaced."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    email: EmailAddress


class UserUpdate(TypedDict, total=False):
    """What of a user is to change; what is left out stays."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    name: Name
    email: EmailAddress


class UserPublic(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: Id
    name: str
    email: str
    created_at: datetime


class UserPage(OffsetPage[UserPublic]):
    """A page of the users, oldest first."""


class UserSearchPage(CursorPage[UserPublic]):
    """A page of the users that were searched for, oldest first."""


class UserStats(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    total_users: int
    users_last_7_days: int


class UserSearchParameters(CursorParameters):
    name: Annotated[NameQuery, Field(description=NAME_DESCRIPTION)] = ""
    created_after: Annotated[
        DateOrDatetime | None,
        Field(
            description=(
                "Created at this moment or later: an RFC 3339 date, which is its midnight in UTC, "
                "or date-time, which is in UTC if it has no offset. A `+` must be sent as `%2B`."
            ),
            json_schema_extra=non_nullable,
        ),
    ] = None
