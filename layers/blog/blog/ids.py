"""The type of ids: what PostgreSQL's bigint identity columns hold.

In a route's path `{user_id:id}` matches digits alone, so that `/users/search` is never taken for
a user, and not so many that Python refuses to read them.
"""

from typing import Annotated

from pydantic import Field
from starlette.convertors import Convertor, register_url_convertor

MAX_ID = 2**63 - 1

Id = Annotated[int, Field(ge=1, le=MAX_ID)]


class IdConvertor(Convertor[int]):
    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("id", IdConvertor())
