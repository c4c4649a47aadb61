"""Requests become events and results become responses, as in an API Gateway HTTP API."""

import base64
import json
import re

import pytest

from local.gateway.events import Request, event_of, new_request_id
from local.gateway.responses import InvalidFunctionResponse, response_of
from local.gateway.routing import ANY_METHODS, Match, Route, RouteTable

TABLE = RouteTable(
    [
        Route("/writers", ANY_METHODS, "writers"),
        Route("/writers/{proxy+}", ANY_METHODS, "writers"),
        Route("/writers/{id}/articles", frozenset({"GET"}), "articles-of-writer"),
        Route("$default", frozenset({"X-AMAZON-APIGATEWAY-ANY-METHOD"}), "docs"),
    ]
)


def request(target: str = "/writers", **changes: object) -> Request:
    values: dict[str, object] = {"method": "GET", "target": target, "headers": [], "body": b""}
    return Request(**{**values, "source_ip": "127.0.0.1", **changes})  # type: ignore[arg-type]


def event(**changes: object) -> dict[str, object]:
    made = request(**changes)  # type: ignore[arg-type]
    match = TABLE.match(made.method, made.path)
    assert match
    return event_of(made, match, "id", 3000)


@pytest.mark.parametrize(
    ("method", "path", "function", "key", "parameters"),
    [
        ("GET", "/writers", "writers", "ANY /writers", {}),
        ("GET", "/writers/", "writers", "ANY /writers", {}),
        ("TRACE", "/writers", "writers", "ANY /writers", {}),
        ("PUT", "/writers/7", "writers", "ANY /writers/{proxy+}", {"proxy": "7"}),
        ("GET", "/writers/a/b\n", "writers", "ANY /writers/{proxy+}", {"proxy": "a/b\n"}),
        (
            "GET",
            "/writers/7/articles",
            "articles-of-writer",
            "GET /writers/{id}/articles",
            {"id": "7"},
        ),
        ("PUT", "/writers/7/articles", "writers", "ANY /writers/{proxy+}", {"proxy": "7/articles"}),
        ("GET", "/userss", "docs", "$default", {}),
        ("QUERY", "/", "docs", "$default", {}),
    ],
)
def test_the_most_specific_route_takes_a_request(
    method: str, path: str, function: str, key: str, parameters: dict[str, str]
) -> None:
    match = TABLE.match(method, path)
    assert match
    assert match.route.function_name == function
    assert match.route_key(method) == key
    assert match.path_parameters == parameters


def test_without_a_default_route_nothing_takes_an_unknown_path() -> None:
    assert RouteTable([Route("/writers", ANY_METHODS, "writers")]).match("GET", "/") is None


def test_the_path_is_decoded_and_the_query_is_not() -> None:
    made = event(target="/writers/%C3%A4%2F%00?q=%C3%A4+b&x=1&x=2&empty=&bare")
    assert made["rawPath"] == "/writers/ä/\0"
    assert made["pathParameters"] == {"proxy": "ä/\0"}
    assert made["rawQueryString"] == "q=%C3%A4+b&x=1&x=2&empty=&bare"
    assert made["queryStringParameters"] == {"q": "ä b", "x": "1,2", "empty": "", "bare": ""}


def test_raw_bytes_in_a_target_do_not_break_the_event() -> None:
    made = event(target="/writers/\xff?q=\xff")
    assert made["rawPath"] == "/writers/�"
    assert made["rawQueryString"] == "q=%FF"


def test_header_names_are_lower_case_and_repeated_ones_joined() -> None:
    headers = [("X-One", "a"), ("x-one", "b"), ("X_Two", "c"), ("Connection", "close")]
    made = event(headers=[*headers, ("Cookie", "a=1; b=2"), ("Cookie", "c=3")])
    assert isinstance(made["headers"], dict)
    assert made["headers"].items() >= {"x-one": "a,b", "x_two": "c"}.items()
    assert not made["headers"].keys() & {"connection", "cookie"}
    assert made["cookies"] == ["a=1", "b=2", "c=3"]


@pytest.mark.parametrize(
    ("content_type", "body", "is_base64"),
    [
        ("application/json; charset=utf-8", b"{}", False),
        ("application/merge-patch+json", b"{}", False),
        ("text/plain", "ä".encode(), False),
        ("application/json", b"\xff", True),
        ("application/x-www-form-urlencoded", b"a=1", True),
        ("", b"{}", True),
    ],
)
def test_only_text_is_text_in_the_event(content_type: str, body: bytes, is_base64: bool) -> None:
    made = event(method="POST", headers=[("content-type", content_type)], body=body)
    assert made["isBase64Encoded"] is is_base64
    expected = base64.b64encode(body).decode() if is_base64 else body.decode()
    assert made["body"] == expected


def test_members_without_a_value_are_left_out() -> None:
    made = event()
    absent = {"body", "cookies", "pathParameters", "queryStringParameters", "stageVariables"}
    assert not made.keys() & absent


def test_request_ids_are_unique_and_look_like_those_of_api_gateway() -> None:
    ids = {new_request_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{15}=", value) for value in ids)


def test_a_full_result_becomes_a_response() -> None:
    result = {
        "statusCode": "201",
        "headers": {"X-Number": 1, "X-Name": "ä", "Transfer-Encoding": "chunked"},
        "cookies": ["a=1", "b=2"],
        "body": base64.b64encode(b"\xff\0").decode(),
        "isBase64Encoded": True,
    }
    response = response_of(json.dumps(result).encode())
    assert response.status == 201
    assert response.body == b"\xff\0"
    assert response.headers == [
        ("X-Number", "1"),
        ("X-Name", "ä".encode().decode("latin-1")),
        ("Content-Type", "application/json"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
    ]


@pytest.mark.parametrize(
    ("payload", "body"), [(b'{"a":1}', b'{"a":1}'), (b'"text"', b"text"), (b"[1]", b"[1]")]
)
def test_a_result_without_a_status_is_the_body(payload: bytes, body: bytes) -> None:
    response = response_of(payload)
    assert response.status == 200
    assert response.headers == [("Content-Type", "application/json")]
    assert response.body == body


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "none"},
        {"statusCode": 99},
        {"statusCode": 600},
        {"statusCode": None},
        {"statusCode": float("inf")},
        {"statusCode": 200, "cookies": 1},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "?", "isBase64Encoded": True},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a b": "1"}},
        {"statusCode": 200, "headers": {"a": "1\r\nb: 2"}},
        {"statusCode": 200, "headers": {"a": "1\f"}},
        {"statusCode": 200, "headers": {"a": ["1"]}},
    ],
)
def test_a_result_that_api_gateway_rejects_is_rejected(result: object) -> None:
    with pytest.raises(InvalidFunctionResponse):
        response_of(json.dumps(result).encode())


def test_bytes_that_are_not_json_are_rejected() -> None:
    with pytest.raises(InvalidFunctionResponse):
        response_of(b"\xff")


def test_header_values_are_trimmed_and_lone_surrogates_replaced() -> None:
    response = response_of(rb'{"statusCode": 200, "headers": {"Content-Type": "\ud800a\t "}}')
    assert response.headers == [("Content-Type", "?a")]


def test_a_match_names_the_method_of_a_route_with_methods() -> None:
    assert Match(Route("/a", frozenset({"GET"}), "a"), {}).route_key("GET") == "GET /a"
