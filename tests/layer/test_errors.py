"""The error tree: its docstring, its classes and the responses agree."""

import json
import re

import pytest
from fastapi import status as http_status

from shared import errors
from shared.errors import (
    MAX_ERRORS,
    ApiError,
    InvalidRequest,
    RequestInProgress,
    ServiceUnavailable,
    TooManyRequests,
)
from shared.http.problems import problem_response, problem_responses
from shared.request import ApiRequest

TREE = dict(re.findall(r"[├└]── (\w+) +(\d{3})?", errors.__doc__ or ""))


def descendants(parent: type[ApiError]) -> list[type[ApiError]]:
    """Of the module only: `shared.database.connection` has a kind of its own."""
    found = [error for error in parent.__subclasses__() if error.__module__ == errors.__name__]
    return found + [below for error in found for below in descendants(error)]


ERRORS = descendants(ApiError)


def made(kind: type[ApiError]) -> ApiError:
    if issubclass(kind, InvalidRequest):
        return kind([{"in": "body", "field": "name", "message": "must not be blank"}])
    if issubclass(kind, TooManyRequests):
        return kind("read", retry_seconds=1)
    return kind("¿What happened?")


def test_the_docstrings_tree_names_every_error_and_no_other() -> None:
    assert set(TREE) == {error.__name__ for error in ERRORS}


@pytest.mark.parametrize("error", ERRORS)
def test_the_docstrings_tree_has_every_errors_status(error: type[ApiError]) -> None:
    below = error.__mro__[1] is not ApiError
    assert TREE[error.__name__] == ("" if below else str(error.status))


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_has_status_title_code_and_description(error: type[ApiError]) -> None:
    assert error.status in vars(http_status).values()
    assert error.title
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)
    assert error.description.endswith(".")
    assert {"code", "description"} <= set(vars(error))


def test_codes_are_unique() -> None:
    assert len({error.code for error in ERRORS}) == len(ERRORS)


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_returned_as_a_problem(error: type[ApiError]) -> None:
    response = problem_response(made(error), ApiRequest())
    problem = json.loads(bytes(response.body))

    assert response.status_code == problem["status"] == error.status
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"/problems#{error.code}"
    assert problem["title"] == error.title
    assert problem["detail"]
    assert b"\\u" not in bytes(response.body)  # UTF-8 needs no escapes
    assert ("errors" in problem) == (error is InvalidRequest)
    worth_repeating = issubclass(error, (ServiceUnavailable, RequestInProgress, TooManyRequests))
    assert ("retry-after" in response.headers) == worth_repeating


def test_an_invalid_request_lists_each_field_and_has_all_in_its_detail() -> None:
    wrong = [
        {"in": "body", "field": "name", "message": "must not be blank"},
        {"in": "query", "field": "limit", "message": "is too large"},
    ]
    problem = InvalidRequest(wrong).problem()

    assert problem["errors"] == wrong
    assert problem["detail"] == "name: must not be blank; limit: is too large"


def test_a_route_names_its_errors_by_their_status() -> None:
    responses = problem_responses(errors.MalformedJson, errors.InvalidReference, errors.NotFound)

    assert responses == {
        400: {"x-errors": ["MalformedJson", "InvalidReference"]},
        404: {"x-errors": ["NotFound"]},
    }


def test_texts_of_an_invalid_request_are_cut_where_they_are_too_long() -> None:
    limits = {"field": errors.MAX_FIELD_CHARACTERS, "message": errors.MAX_MESSAGE_CHARACTERS}
    for excess in (0, 1):
        texts = {name: "x" * (limit + excess) for name, limit in limits.items()}
        [error] = InvalidRequest([{"in": "body", **texts}]).errors
        for name, limit in limits.items():
            assert error[name] == ("x" * (limit - excess) + "…" * excess)


@pytest.mark.parametrize(("count", "end"), [(MAX_ERRORS, "wrong"), (MAX_ERRORS + 3, "and 3 more")])
def test_the_detail_has_the_number_of_errors_that_are_not_listed(count: int, end: str) -> None:
    listed = [{"in": "body", "field": "name", "message": "is wrong"}] * count
    for error in (InvalidRequest(listed), InvalidRequest(listed[:MAX_ERRORS], count)):
        assert len(error.errors) == MAX_ERRORS
        assert error.detail.endswith(end)
