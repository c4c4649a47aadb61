"""Conditional requests (RFC 9110, sections 8.8.3 and 13) on every resource.

Each test names its rule; docs/api.md has the table.
"""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import create_model

from local.services import Services
from tests.conftest import Worker
from tests.every_resource.document import (
    CHANGES,
    CREATES,
    DELETED,
    LISTS,
    READABLE,
    PaginatedList,
    Write,
    of_kinds,
    path_of,
)
from tests.resources import RESOURCE_OF, delete_referring
from tests.valkey import empty
from tests.worker_process import WorkerProcess, running_worker

Database = psycopg.Connection[Any]
ITEM = 1
STRONG_TAG = re.compile(r'"[\x21\x23-\x7e]+"')
OTHER = '"1-1"'
WRITERS = 50
WORKERS = 5

changes = pytest.mark.parametrize(
    "write", [one for one in CHANGES if one.table in READABLE], ids=str
)
patches = pytest.mark.parametrize(
    "write",
    [one for one in of_kinds("update") if one.table in READABLE and one.is_of_item],
    ids=str,
)
creates = pytest.mark.parametrize(
    "write", [one for one in CREATES if one.table in READABLE], ids=str
)
every_resource = pytest.mark.parametrize("resource", READABLE)
every_list = pytest.mark.parametrize("paginated", LISTS, ids=str)


def send(api: httpx.Client, write: Write, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.request(write.method, write.target_of(ITEM), json=write.body, headers=sent)


def tag_of(api: httpx.Client, resource: str) -> str:
    etag = api.get(path_of(resource, ITEM)).headers["etag"]
    assert STRONG_TAG.fullmatch(etag)
    return str(etag)


def is_problem(response: httpx.Response, status: int, code: str) -> bool:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers
    return bool(response.json()["type"] == f"/problems#{code}")


# 8.8.3: a strong tag changes with the representation, and with nothing else.


@every_resource
def test_a_tag_stays_while_the_resource_does(
    api: httpx.Client, few_rows: None, changed: set[str], database: Database, resource: str
) -> None:
    before, shown = tag_of(api, resource), api.get(path_of(resource, ITEM)).content
    database.execute(f"VACUUM (FULL, FREEZE) {resource}".encode())
    for write in CREATES:  # others, and what refers to it
        changed.clear()
        assert write.send(api).status_code == 201
        now = api.get(path_of(resource, ITEM)).content
        is_changed = resource in changed or now != shown  # an order takes from a stock; a rating
        if write.table != resource and is_changed:
            before, shown = tag_of(api, resource), now
    assert tag_of(api, resource) == before


@changes
def test_a_change_changes_the_tag(api: httpx.Client, few_rows: None, write: Write) -> None:
    before = tag_of(api, write.table)
    response = send(api, write)
    assert write.is_done(response)
    after = api.get(write.path_of(ITEM))
    if response.is_error:
        assert after.headers["etag"] == before
        return
    assert after.status_code == 404 or after.headers["etag"] != before


@creates
def test_other_resources_and_rows_have_other_tags(
    api: httpx.Client, few_rows: None, write: Write
) -> None:
    location = write.send(api).headers["location"]
    assert api.get(location).headers["etag"] != tag_of(api, write.table)


# 13.1.2: If-None-Match of a read. 304 without a body, compared weakly.


@every_resource
@pytest.mark.parametrize(
    "template", ["{tag}", "W/{tag}", '"a,b", {tag}', "W/{tag} , {other}", "*", " {tag},,"]
)
def test_a_known_resource_is_not_sent_again(
    api: httpx.Client, few_rows: None, resource: str, template: str
) -> None:
    tag = tag_of(api, resource)
    condition = template.format(tag=tag, other=OTHER)
    for method in ("GET", "HEAD"):
        response = api.request(
            method, path_of(resource, ITEM), headers={"If-None-Match": condition}
        )
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
        assert response.headers["cache-control"] == "no-cache"


@every_resource
@pytest.mark.parametrize("condition", [OTHER, f"W/{OTHER}", '"2-745"', '""', '"a,b", "c"'])
def test_an_unknown_resource_is_sent(
    api: httpx.Client, few_rows: None, resource: str, condition: str
) -> None:
    response = api.get(path_of(resource, ITEM), headers={"If-None-Match": condition})
    assert response.status_code == 200
    assert response.json() == api.get(path_of(resource, ITEM)).json()


@every_list
def test_a_known_page_is_not_sent_again(
    api: httpx.Client, few_rows: None, paginated: PaginatedList
) -> None:
    first = api.get(paginated.url())
    tag = first.headers["etag"]
    assert STRONG_TAG.fullmatch(tag)
    for method in ("GET", "HEAD", "GET"):  # read from the database, and from the cache
        response = api.request(method, paginated.url(), headers={"If-None-Match": tag})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
        assert response.headers["cache-control"] == "no-cache"


@every_list
def test_a_changed_page_is_sent(
    api: httpx.Client, few_rows: None, database: Database, cache: Any, paginated: PaginatedList
) -> None:
    tag = api.get(paginated.url()).headers["etag"]
    delete_referring(database, paginated.table)
    database.execute(f"DELETE FROM {paginated.table}".encode())
    empty(cache)
    response = api.get(paginated.url(), headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert response.headers["etag"] != tag


@every_list
def test_the_tag_of_a_page_is_of_its_bytes(
    api: httpx.Client, few_rows: None, cache: Any, paginated: PaginatedList
) -> None:
    """Pages with the same content have the same tag, whenever they were cached."""
    before = api.get(paginated.url())
    empty(cache)
    after = api.get(paginated.url())
    assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])


# 13.1.1: If-Match. 412 unless it holds, compared strongly.


@changes
@pytest.mark.parametrize("template", ["{tag}", "*", '"a,b", {tag}', '{other},{tag},W/"x"'])
def test_a_change_is_made_if_the_resource_is_as_the_caller_knows_it(
    api: httpx.Client, few_rows: None, write: Write, template: str
) -> None:
    condition = template.format(tag=tag_of(api, write.table), other=OTHER)
    assert write.is_done(send(api, write, If_Match=condition))


@changes
@pytest.mark.parametrize(
    "template",
    ["{other}", "W/{tag}", "{prefixed}", "{longer}", "{shorter}", '""', '"2-745", W/{tag}'],
)
def test_a_change_of_what_was_changed_since_is_rejected(
    api: httpx.Client, few_rows: None, write: Write, template: str
) -> None:
    tag = tag_of(api, write.table)
    version, _, rest = tag.partition("-")
    condition = template.format(
        tag=tag,
        other=OTHER,
        prefixed=f'"1{tag[1:]}',
        longer=f"{version}0-{rest}",
        shorter=f"{version[:-1]}-{rest}",
    )
    response = send(api, write, If_Match=condition)
    if not write.is_rejected(response.status_code):  # by a rule, which comes first (13.2.1)
        assert is_problem(response, 412, "precondition-failed")
    assert tag_of(api, write.table) == tag


@every_resource
def test_a_read_of_what_was_changed_since_is_rejected(
    api: httpx.Client, few_rows: None, resource: str
) -> None:
    lists = [one.url() for one in LISTS if one.template == f"/{resource}"]
    for path in (path_of(resource, ITEM), *lists[:1]):
        tag = api.get(path).headers["etag"]
        for condition in (tag, "*", f"{OTHER}, {tag}"):
            assert api.get(path, headers={"If-Match": condition}).status_code == 200
        for condition in (OTHER, f"W/{tag}"):
            response = api.get(path, headers={"If-Match": condition})
            assert is_problem(response, 412, "precondition-failed")


# 13.1.2: If-None-Match of a change, which no version of what exists could meet.


@changes
@pytest.mark.parametrize("condition", [OTHER, "*"])
def test_a_change_rejects_if_none_match(
    api: httpx.Client, few_rows: None, write: Write, condition: str
) -> None:
    tag = tag_of(api, write.table)
    response = send(api, write, If_None_Match=condition)
    assert is_problem(response, 422, "invalid-request")
    assert response.json()["errors"][0]["field"] == "If-None-Match"
    assert tag_of(api, write.table) == tag


@patches
def test_an_empty_change_obeys_conditions_too(
    api: httpx.Client, few_rows: None, write: Write
) -> None:
    path, tag = write.path_of(ITEM), tag_of(api, write.table)
    response = api.patch(path, json={}, headers={"If-Match": OTHER})
    assert is_problem(response, 412, "precondition-failed")
    assert api.patch(path, json={}, headers={"If-Match": tag}).status_code == 200


# 13.2.2: If-Match first, then If-None-Match.


@every_resource
def test_if_match_is_judged_before_if_none_match(
    api: httpx.Client, few_rows: None, resource: str
) -> None:
    path, tag = path_of(resource, ITEM), tag_of(api, resource)
    both = api.get(path, headers={"If-Match": OTHER, "If-None-Match": tag})
    assert is_problem(both, 412, "precondition-failed")
    assert api.get(path, headers={"If-Match": tag, "If-None-Match": tag}).status_code == 304


# 13.2.1: what the response would be without the condition comes first, unless it is 2xx.


@changes
def test_an_unknown_item_is_404_whatever_the_condition(
    api: httpx.Client, few_rows: None, write: Write
) -> None:
    for condition in ("*", OTHER):
        headers = {"If-Match": condition}
        response = api.request(write.method, write.target_of(99), json=write.body, headers=headers)
        assert is_problem(response, 404, "not-found")


@changes
def test_an_invalid_body_precedes_a_condition(
    api: httpx.Client, few_rows: None, write: Write
) -> None:
    if write.body is None:
        return
    response = api.request(
        write.method, write.target_of(ITEM), json={"nix": 1}, headers={"If-Match": OTHER}
    )
    assert response.status_code == 422


# 9.3.4, 15.3.2: which responses to writes have a tag.


@creates
def test_a_create_has_the_new_tag(api: httpx.Client, few_rows: None, write: Write) -> None:
    created = write.send(api)
    assert created.headers["etag"] == api.get(created.headers["location"]).headers["etag"]


@changes
def test_responses_to_patch_and_actions_have_the_new_tag_and_those_to_put_none(
    api: httpx.Client, few_rows: None, write: Write
) -> None:
    response = send(api, write)
    assert write.is_done(response)
    if write.kind in ("update", "action") and response.is_success:
        assert response.headers["etag"] == tag_of(api, write.table)
    else:
        assert "etag" not in response.headers


@pytest.mark.parametrize("write", [one for one in CREATES if one.is_idempotent], ids=str)
def test_a_retried_create_has_no_tag_which_could_be_stale(
    api: httpx.Client, few_rows: None, write: Write
) -> None:
    first, again = (
        api.post(write.path, json=write.body, headers={"Idempotency-Key": "one"}) for _ in range(2)
    )
    assert first.json() == again.json()
    assert "etag" in first.headers
    assert "etag" not in again.headers


# The syntax of the headers.


@every_resource
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("invalid", ["1-745", '"a', 'a"', '"a" "b"', 'w/"a"', '*, "a"', "", ","])
def test_a_malformed_condition_is_named(
    api: httpx.Client, few_rows: None, resource: str, name: str, invalid: str
) -> None:
    response = api.get(path_of(resource, ITEM), headers={name: invalid})
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert (error["in"], error["field"]) == ("header", name)


# 13.1.1: "to prevent accidental overwrites" (the lost update).


@pytest.mark.slow
@patches
def test_of_many_writers_that_know_the_same_tag_one_succeeds(
    api: httpx.Client, services: Services, few_rows: None, write: Write, tmp_path: Path
) -> None:
    """The first writers wait for a lock of the row, and continue at the same time."""
    path, tag = write.path_of(ITEM), tag_of(api, write.table)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(running_worker(tmp_path / "log", SERVICE=f"blog-{number}"))
            for number in range(WORKERS)
        ]
        for worker in workers:
            worker.call("GET", path)
        holder = stack.enter_context(psycopg.connect(services.database_url))
        holder.execute(f"SELECT FROM {write.table} FOR UPDATE".encode())
        pool = stack.enter_context(ThreadPoolExecutor(WORKERS))

        def change(worker: WorkerProcess) -> list[int]:
            return [
                worker.call("PATCH", path, write.body, if_match=tag).status
                for _ in range(WRITERS // WORKERS)
            ]

        writing = [pool.submit(change, worker) for worker in workers]
        until_waiting(services, WORKERS)
        holder.rollback()
        statuses = [status for one in writing for status in one.result()]
    assert len(statuses) == WRITERS
    if set(statuses) == {409} and write.is_rejected(409):
        return
    assert set(statuses) == {200, 412}
    assert statuses.count(200) == 1


def until_waiting(services: Services, sessions: int) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with psycopg.connect(services.database_url, autocommit=True) as database:
        deadline = time.monotonic() + 5
        while database.execute(waiting).fetchone() != (sessions,):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize(
    "write", [one for one in CHANGES if one.kind != "action" and one.table in READABLE], ids=str
)
def test_an_api_can_demand_if_match(
    worker: Worker, api: httpx.Client, few_rows: None, write: Write
) -> None:
    worker.restart(REQUIRE_IF_MATCH="true")
    assert is_problem(send(api, write), 428, "precondition-required")
    assert write.is_done(send(api, write, If_Match=tag_of(api, write.table)))


@creates
@pytest.mark.parametrize("headers", [{}, {"If-Match": OTHER, "If-None-Match": "*"}], ids=str)
def test_a_create_has_no_conditions(
    worker: Worker, api: httpx.Client, few_rows: None, write: Write, headers: dict[str, str]
) -> None:
    worker.restart(REQUIRE_IF_MATCH="true")
    assert api.post(write.path, json=write.body, headers=headers).status_code == 201
    if write.table in DELETED:
        assert api.delete(write.path_of(ITEM)).status_code == 428


# 8.8.1: a release changes the JSON of what is unchanged in the database.


@patches
def test_another_form_has_another_tag_with_which_the_resource_can_be_changed(
    api: httpx.Client, few_rows: None, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    path, before = write.path_of(ITEM), tag_of(api, write.table)
    resource = RESOURCE_OF[write.table]
    longer = create_model("Longer", __base__=resource.schema, added=(str, "by a release"))
    monkeypatch.setattr(resource, "schema", longer)

    response = api.get(path, headers={"If-None-Match": before})
    assert (response.status_code, response.json()["added"]) == (200, "by a release")
    after = tag_of(api, write.table)
    assert api.get(path, headers={"If-None-Match": after}).status_code == 304
    assert is_problem(api.get(path, headers={"If-Match": before}), 412, "precondition-failed")
    assert api.patch(path, json={}, headers={"If-Match": before}).status_code == 200
    is_same = tag_of(api, write.table) == after  # not where every change sets a field
    changed = send(api, write, If_Match=before)
    assert write.is_done(changed) if is_same else changed.status_code == 412
    if changed.status_code != 409:
        assert is_problem(send(api, write, If_Match=before), 412, "precondition-failed")
