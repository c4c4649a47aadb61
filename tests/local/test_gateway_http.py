"""HTTP as the gateway accepts it, byte by byte, and for which hosts."""

import contextlib
import re
import socket
import time

import pytest

from tests.local.served import Served

SMUGGLED = b"GET /toy?mode=smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"


def post(*headers: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    lines = [b"POST /toy HTTP/" + version, b"Host: localhost", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(target: bytes = b"/toy", *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([b"GET " + target + b" " + version, *headers]) + b"\r\n\r\n"


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def send(served: Served, request: bytes) -> bytes:
    """Return all that comes back until the gateway closes the connection, which it must."""
    response = b""
    with socket.create_connection(("127.0.0.1", served.gateway.port), 5) as connection:
        # It may close before all is sent; the response is there all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
        with contextlib.suppress(ConnectionResetError):
            while received := connection.recv(65536):
                response += received
    return response


def statuses(response: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", response)]


AMBIGUOUS_LENGTH = [
    post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS),
    post(b"Transfer-Encoding: chunked, chunked", body=CHUNKS),
    post(b"Transfer-Encoding: chunked;q=1", body=CHUNKS),
    post(b"Transfer-Encoding: xchunked", body=CHUNKS),
    post(b"Transfer-Encoding: identity", body=CHUNKS),
    post(b"Transfer-Encoding:", body=CHUNKS),
    post(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKS),
    post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=CHUNKS),
    post(b"Transfer-Encoding : chunked", body=CHUNKS),
    post(b"Transfer-Encoding: chunked", b"Content-Length: 2", body=CHUNKS),
    post(b"Content-Length: 2", b"Transfer-Encoding: chunked", body=CHUNKS),
    post(b"Transfer-Encoding: chunked", body=CHUNKS, version=b"1.0"),
    post(b"Content-Length: 2", b"Content-Length: 3", body=b"{} "),
    post(b"Content-Length: 2, 3", body=b"{} "),
    post(b"Content-Length : 2", body=b"{}"),
    post(b"Content-Length: " + b"9" * 5000),
    post(b"Content-Length: -1"),
    post(b"Content-Length: +2", body=b"{}"),
    post(b"Content-Length: 0x2", body=b"{}"),
    post(b"Content-Length: 1_0", body=b"{}        "),
    post(b"Content-Length: 2 2", body=b"{}"),
    post(b"Content-Length: 2.0", body=b"{}"),
    post(b"Content-Length:"),
    post(b"Content-Length: \xd9\xa2", body=b"{}"),  # ARABIC-INDIC DIGIT TWO
]
BROKEN_CHUNKS = [
    chunked(size + b"\r\n{}\r\n0\r\n\r\n")
    for size in (b"-2", b"+2", b"0x2", b"2_", b" 2", b"", b"?", b"2 2", b"0" * 20 + b"2", b"2\n{}")
] + [
    chunked(b"1\r\n{}\r\n0\r\n\r\n"),  # more data than announced
    chunked(b"2\r\n{}0\r\n\r\n"),
    chunked(b"2\r\n{}\n0\r\n\r\n"),
    chunked(b"2;\n\r\n{}\r\n0\r\n\r\n"),
    chunked(b"2;" + b"x" * 100_000),
    chunked(b"2\r\n{}\r\n0\r\nno colon\r\n\r\n"),
]
BROKEN_HEADERS = [
    get(b"/toy", b"Host: localhost", header)
    for header in (
        *(
            b"no colon",
            b": no name",
            b"a b: 1",
            b"a\0b: 1",
            b"a: b\0c",
            b"a: b\rc",
            b"a\xc3\xa4: 1",
        ),
        *(b"a: \x0b", b"Host: localhost"),
    )
] + [get(), get(b"/toy", b" folded: 1", b"Host: localhost")]
BROKEN_REQUEST_LINES = [
    line + b"\r\nHost: localhost\r\n\r\n"
    for line in (
        *(b"nonsense", b"GET /toy", b"GET", b"GET  /toy HTTP/1.1", b"GET\t/toy\tHTTP/1.1"),
        *(
            b"GET /toy HTTP/1.1 ",
            b" GET /toy HTTP/1.1",
            b"GET /toy http/1.1",
            b"GET /toy HTTP/1.1.1",
        ),
        *(
            b"GET /t\0y HTTP/1.1",
            b"GET /t y HTTP/1.1",
            b"GET /\xc3\xa4 HTTP/1.1",
            b"G(T /toy HTTP/1.1",
        ),
        *(b"GET toy HTTP/1.1", b"GET ?a=1 HTTP/1.1", b"GET ftp://localhost/toy HTTP/1.1"),
        *(b"CONNECT localhost:80 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"\x16\x03\x01\x02\x00\x01\x00"),
    )
]


@pytest.mark.parametrize(
    ("status", "request_"),
    [(400, request) for request in AMBIGUOUS_LENGTH + BROKEN_CHUNKS]
    + [(400, request) for request in BROKEN_HEADERS + BROKEN_REQUEST_LINES]
    + [(505, get(version=b"HTTP/" + version)) for version in (b"0.9", b"1.2", b"2.0")]
    + [(431, get(b"/toy", b"Host: localhost", b"a: " + b"x" * 5000, b"b: " + b"x" * 5300))]
    + [(505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")],
)
def test_an_ambiguous_request_is_rejected_and_ends_its_connection(
    served: Served, status: int, request_: bytes
) -> None:
    before = len(served.exchanges)
    response = send(served, request_ + SMUGGLED)
    assert statuses(response) == [status]
    assert b'\r\n\r\n{"message":' in response
    time.sleep(0.01)
    assert not [each for each in served.exchanges[before:] if each.invocation]


@pytest.mark.parametrize(
    "request_",
    [
        post(b"Content-Length: 10485761"),
        post(b"Content-Length: " + b"9" * 19),
        chunked(b"fffff\r\n" + b"x" * 0xFFFFF + b"\r\n")
        + b"fffff\r\n"
        + (b"x" * 0xFFFFF + b"\r\nfffff\r\n") * 11,
    ],
)
def test_a_body_over_ten_megabytes_is_rejected_before_all_of_it_came(
    served: Served, request_: bytes
) -> None:
    response = send(served, request_)
    assert statuses(response) == [413]
    assert b'{"message":"Request Entity Too Large"}' in response


@pytest.mark.parametrize(
    "request_",
    [
        post(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"),
        post(b"content-length:2", body=b"{}"),
        post(b"Transfer-Encoding: Chunked", body=CHUNKS),
        chunked(b"02;a=b\r\n{}\r\n0\r\nTrailer: 1\r\n\r\n"),
        post(b"X: \xc3\xa4\t\x80", b"Content-Length: 2", body=b"{}"),
        post(b"Folded: 1\r\n 2", b"Content-Length: 2", body=b"{}"),
        post(b"Content-Length: 2", body=b"{}").replace(b"\r\n", b"\n"),
        post(b"Content-Length: 2", body=b"{}", version=b"1.0"),
    ],
)
def test_unusual_requests_that_the_standard_allows_are_accepted(
    served: Served, request_: bytes
) -> None:
    close = request_.replace(b"Host: localhost", b"Host: localhost\nConnection: close", 1)
    response = send(served, close)
    assert statuses(response) == [200]
    assert b'"body": "e30="' in response


LOCAL = [
    *(
        "localhost",
        "LocalHost:80",
        "localhost:",
        "127.0.0.1:3000",
        "a.localhost",
        "a.b.localhost:8",
    ),
    *("[::1]", "[::1]:", "[::1]:1"),
]
FOREIGN = [
    *("evil.test", "127.0.0.1.evil.test", "localhost.evil.test", "evil-localhost"),
    *("localhost-evil.test:80", "0.0.0.0", "127.0.0.2", "192.168.0.1:3000", "[::2]", "2130706433"),
    *("127.1", "[::ffff:127.0.0.1]", ".localhost", "a..localhost"),
]
MALFORMED = [
    *("", ":", ":3000", "::1", "localhost:port", "localhost:1:2", "localhost:123456", "[::1", "[]"),
    *("localhost@evil.test", "evil.test, localhost", "localhost, evil.test", "localhost,localhost"),
    *("localhost/", "localhost\xa0", "localh\xf6st", "local host", "%6cocalhost"),
]


@pytest.mark.parametrize("host", LOCAL)
def test_the_hosts_of_this_machine_are_served(served: Served, host: str) -> None:
    for request in (
        get(b"/toy", f"Host: {host}".encode(), b"Connection: close"),
        get(f"http://{host}/toy".encode(), f"Host: {host}".encode(), b"Connection: close"),
    ):
        assert statuses(send(served, request)) == [200]


@pytest.mark.parametrize("host", FOREIGN)
def test_every_other_host_is_forbidden_as_its_name_may_be_dns_rebinding(
    served: Served, host: str
) -> None:
    response = send(served, get(b"/toy", f"Host: {host}".encode("latin-1")) + SMUGGLED)
    assert statuses(response) == [403]
    assert b'{"message":"Forbidden: only localhost and 127.0.0.1 are served here"}' in response


@pytest.mark.parametrize("host", MALFORMED)
def test_an_invalid_host_is_a_bad_request(served: Served, host: str) -> None:
    response = send(served, get(b"/toy", f"Host: {host}".encode("latin-1")) + SMUGGLED)
    assert statuses(response) == [400]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://evil.test/toy", 403),
        (b"https://localhost@evil.test/toy", 400),
        (b"http:///toy", 400),
    ],
)
def test_the_host_of_an_absolute_target_counts_too(
    served: Served, target: bytes, status: int
) -> None:
    assert statuses(send(served, get(target, b"Host: localhost") + SMUGGLED)) == [status]


@pytest.mark.parametrize("host", ["[::1]", "[::1]:1", "[::1]:", "localhost:", "localhost"])
def test_the_domain_of_an_event_is_the_host_without_its_port(served: Served, host: str) -> None:
    response = send(served, get(b"/toy", f"Host: {host}".encode(), b"Connection: close"))
    domain = "[::1]" if host.startswith("[") else "localhost"
    assert f'"domainName": "{domain}"'.encode() in response


def test_repeated_headers_arrive_and_none_changes_where_a_request_came_from(
    served: Served,
) -> None:
    sent = [("X-One", "a"), ("x-one", "b"), ("Cookie", "a=1"), ("Cookie", "b=2")]
    forwarded = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")]
    event = served.client.get("/toy", headers=sent + forwarded).json()["event"]
    assert event["headers"]["x-one"] == "a,b"
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["headers"]["x-forwarded-proto"] == "http"
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"


def test_http_1_0_needs_no_host_and_ends_the_connection(served: Served) -> None:
    assert statuses(send(served, get(version=b"HTTP/1.0") + SMUGGLED)) == [200]


def test_requests_that_come_at_once_are_served_in_turn(served: Served) -> None:
    last = get(b"/toy?last", b"Host: localhost", b"Connection: close")
    response = send(served, SMUGGLED * 3 + last)
    assert statuses(response) == [200] * 4
    assert response.count(b"mode=smuggled") >= 3


def test_a_kept_connection_waits_for_no_delayed_acknowledgement(served: Served) -> None:
    """Nagle's algorithm would cost 40 ms a request; the fastest of some is free of other noise."""
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        assert served.get().status_code == 200
        seconds.append(time.perf_counter() - started)
    assert min(seconds[2:]) < 0.03


def test_many_slow_connections_do_not_delay_others(served: Served) -> None:
    slow = [socket.create_connection(("127.0.0.1", served.gateway.port), 5) for _ in range(200)]
    for number, connection in enumerate(slow):
        connection.sendall(post(b"Content-Length: 9", body=b"{}") if number % 2 else b"GET /to")
    assert served.get().status_code == 200
    for connection in slow:
        connection.close()
