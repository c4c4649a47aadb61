"""Defaults of a role, a database, a URL or an environment reach no response: times are UTC."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from local.services import Services
from shared.database.driver import SESSION
from tests.conftest import Worker

ADA = {"name": "Ada ÄÖ ΓΙΏΡΓΟΣ \\ '", "email": "ada@example.org"}
DEFAULTS = {
    "TimeZone": ("Asia/Kolkata", "America/New_York", "Europe/London", "GMT", "<+05:30>-05:30"),
    "DateStyle": ("SQL, DMY", "German", "Postgres, MDY", "ISO, DMY"),
    "IntervalStyle": ("sql_standard", "iso_8601", "postgres_verbose"),
    "standard_conforming_strings": ("off",),
    "client_encoding": ("LATIN1", "SQL_ASCII", "WIN1251"),
    "bytea_output": ("escape",),
    "extra_float_digits": ("-15",),
    "default_transaction_isolation": ("serializable", "repeatable read"),
    "lc_messages": ("C",),
}
CASES = [(name, value) for name, values in DEFAULTS.items() for value in values]
PLACES = ("role", "database", "url", "environment")


@contextmanager
def session_default(
    place: str, name: str, value: str, database: psycopg.Connection[Any], worker: Worker, url: str
) -> Iterator[None]:
    target = {"role": "ROLE postgres", "database": "DATABASE blog"}.get(place)
    options = f"-c {name}={value}".replace(", ", ",").replace(" ", "\\ ").replace("-c\\ ", "-c ")
    if target:
        database.execute(f"ALTER {target} SET {name} = '{value}'")
    try:
        if place == "url":
            worker.restart(DATABASE_URL=f"{url}&options={quote(options)}")
        elif place == "environment":
            worker.restart(PGOPTIONS=options)
        else:
            worker.restart()
        yield
    finally:
        if target:
            database.execute(f"ALTER {target} RESET {name}")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("name", "value"), CASES)
def test_defaults_of_a_session_reach_no_response(
    place: str,
    name: str,
    value: str,
    api: httpx.Client,
    database: psycopg.Connection[Any],
    worker: Worker,
    services: Services,
) -> None:
    created = api.post("/writers", json=ADA).json()
    assert created["created_at"].endswith("Z")
    with session_default(place, name, value, database, worker, services.database_url):
        assert api.get("/writers/1").json() == created  # the first statement of its connection
        worker.restart()
        assert api.post("/writers", json=ADA | {"email": "b@example.org"}).status_code == 201
        first, second = api.get("/writers").json()["data"]
        assert first == created
        assert second["created_at"].endswith("Z")
        found = api.get("/writers/search", params={"name": "ada"}).json()["data"]
        assert found == [first, second]
        assert api.get("/writers/stats").json() == {"total_writers": 2}
        changed = api.patch("/writers/1", json={"name": "Ä"}).json()
        assert changed == created | {"name": "Ä"}


def test_postgresql_reports_the_settings_that_a_session_needs(
    database: psycopg.Connection[Any],
) -> None:
    for name, values in SESSION.items():
        assert database.info.parameter_status(name) in values
