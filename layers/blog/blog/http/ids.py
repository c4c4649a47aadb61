"""Types of ids, which are PostgreSQL bigint identity columns.

In a body they are JSON integers: `true`, `1.0` and `"1"` are rejected. In a route's path
`{user_id:id}` matches only digits, so that `/users/search` is not taken for a user, and at most 19,
the length of the largest bigint.
"""

from typing import Annotated

from pydantic import Field
from starlette.convertors import Convertor, register_url_convertor

from blog.http.parameters import IN_DIGITS

MAX_ID = 2**63 - 1

INT64 = {"format": "int64"}

Id = Annotated[int, Field(strict=True, ge=1, le=MAX_ID, json_schema_extra=INT64)]
IdParameter = Annotated[Id, IN_DIGITS]
"""An id in a query."""


class IdConvertor(Convertor[int]):
    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("id", IdConvertor())
