"""A schema's digest changes with the JSON that it writes, and with nothing else."""

import subprocess
import sys
from datetime import datetime
from enum import Enum
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, computed_field

from shared.schema_digest import schema_digest
from tests.worker_process import PYTHON_PATH


class Color(Enum):
    RED = "red"


class Inner(BaseModel):
    at: datetime


def model(**fields: object) -> type[BaseModel]:
    """A model of the name `Thing` with these annotations."""
    namespace = {"__annotations__": fields, "__module__": __name__, "__qualname__": "Thing"}
    made: type[BaseModel] = type("Thing", (BaseModel,), namespace)
    return made


class Counted(BaseModel):
    id: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2 * self.id


class CountedOtherwise(BaseModel):
    id: int


class Other(BaseModel):
    model_config = ConfigDict(ser_json_timedelta="float")
    id: int


def plain(value: int) -> str:
    return f"{value}"


def padded(value: int) -> str:
    return f"0{value}"


FORMS: list[type[BaseModel]] = [
    model(id=int, name=str),
    model(name=str, id=int),
    model(id=int),
    model(id=int, title=str),
    model(id=int, metadata=str),
    model(id=str, name=str),
    model(id=int, name=str | None),
    model(id=int, name=list[str]),
    model(id=int, name=Color),
    model(id=int, name=Inner),
    model(id=int, name=list[Inner]),
    model(id=int, name=Annotated[str, Field(serialization_alias="label")]),
    model(id=int, name=Annotated[int, PlainSerializer(plain)]),
    model(id=int, name=Annotated[int, PlainSerializer(padded)]),
    Counted,
    CountedOtherwise,
    Other,
]
DIGESTS = (
    "from tests.example import articles, writers;"
    "from shared.schema_digest import schema_digest as d;"
)
PRINT = "print(d(writers.WriterPage), d(articles.ArticlePage))"


def test_each_form_has_a_digest_of_its_own() -> None:
    assert len({schema_digest(form) for form in FORMS}) == len(FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_a_change_that_does_not_affect_the_json_keeps_the_digest(form: type[BaseModel]) -> None:
    namespace = {"__doc__": "Another", "__module__": form.__module__}
    described: type[BaseModel] = type(form.__name__, (form,), namespace)
    assert schema_digest(described) == schema_digest(form)


def test_every_process_has_the_same_digests() -> None:
    command = [sys.executable, "-c", DIGESTS + PRINT]
    printed = {
        subprocess.run(
            command,
            env={
                "PYTHONPATH": PYTHON_PATH,
                "PYTHONHASHSEED": seed,
                "DATABASE_URL": "postgresql://a/b",
            },
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
