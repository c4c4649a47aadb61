"""Request and response schemas of the users."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from shared.http.fields import (
    Body,
    Changes,
    DateOrDatetime,
    EmailAddress,
    Id,
    Name,
    NameQuery,
    Shown,
)
from shared.http.pagination import CursorPage, CursorParameters, OffsetPage

NAME_DESCRIPTION = (
    "Substring of the name, case-insensitive. Two characters are equal if their upper case has the "
    "same lower case, by Unicode's simple case mappings: `ΓΙΏΡΓΟΣ` finds `Γιώργος`, and I and i, "
    "with or without a dot, are one letter. ß equals ss: `STRASSE` finds `Straße`. Accents are "
    "significant: `jose` does not find `José`, in any Unicode normalization form. `%` and `_` are "
    "literal characters."
)


class UserCreate(Body):
    """All fields of a user, to create or replace one."""

    name: Name
    email: EmailAddress


class UserUpdate(Changes, total=False):
    """The fields of a user to change; a field that is left out keeps its value."""

    name: Name
    email: EmailAddress


class UserPublic(Shown):
    id: Id
    name: str
    email: str
    created_at: datetime


class UserPage(OffsetPage[UserPublic]):
    """A page of users, oldest first."""


class UserSearchPage(CursorPage[UserPublic]):
    """A page of users that match a search, oldest first."""


class UserStats(Shown):
    total_users: int
    users_last_7_days: int


class UserSearchParameters(CursorParameters):
    name: Annotated[NameQuery, Field(description=NAME_DESCRIPTION)] = ""
    created_after: Annotated[
        DateOrDatetime | None,
        Field(
            description=(
                "Created at this time or later: an RFC 3339 date (midnight UTC) or date-time (UTC "
                "unless it has an offset). A `+` must be sent as `%2B`."
            ),
        ),
    ] = None
