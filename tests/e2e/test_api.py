"""A client's day with the API, the same by every way to run it."""

import json
import uuid
from typing import Any

import httpx


def new_user(api: httpx.Client, name: str = "Ada Lovelace") -> dict[str, Any]:
    response = api.post("/users", json={"name": name, "email": f"{uuid.uuid4().hex}@example.com"})
    assert response.status_code == 201, response.text
    user: dict[str, Any] = response.json()
    return user


def test_a_user_is_created_read_updated_and_deleted(api: httpx.Client) -> None:
    user = new_user(api)
    path = f"/users/{user['id']}"
    assert api.get(path).json() == user

    replaced = api.put(path, json={"name": "Augusta", "email": user["email"]})
    assert (replaced.status_code, replaced.json()["name"]) == (200, "Augusta")
    changed = api.patch(path, json={"name": "Ada King"})
    assert changed.json() == user | {"name": "Ada King"}

    deleted = api.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert api.get(path).status_code == 404


def test_location_leads_to_what_was_created(api: httpx.Client) -> None:
    body = {"name": "Grace", "email": f"{uuid.uuid4().hex}@example.com"}
    response = api.post("/users", json=body)
    assert api.get(response.headers["location"]).json() == response.json()


def test_a_page_cached_before_a_write_is_not_served_after_it(api: httpx.Client) -> None:
    user = new_user(api)
    before = api.get("/users").json()
    assert api.get("/users").json() == before

    assert api.delete(f"/users/{user['id']}").status_code == 204

    assert api.get("/users").json()["total"] == before["total"] - 1


def test_following_next_from_the_first_page_meets_every_user_once(api: httpx.Client) -> None:
    made = {new_user(api)["id"] for _ in range(5)}
    met: list[int] = []
    path: str | None = "/users?limit=2"
    while path:
        page = api.get(path)
        met += [user["id"] for user in page.json()["data"]]
        path = page.json()["next"]
        assert (path is None) == ("link" not in page.headers)
    assert len(met) == len(set(met))
    assert made <= set(met)


def test_pages_by_number_and_by_skip_are_the_same(api: httpx.Client) -> None:
    for _ in range(4):
        new_user(api)
    by_page = api.get("/users", params={"page": 2, "limit": 2}).json()
    by_skip = api.get("/users", params={"skip": 2, "limit": 2}).json()
    assert by_page == by_skip
    assert by_page["page"] == 2


def test_a_search_finds_part_of_a_name_in_any_case_and_alphabet(api: httpx.Client) -> None:
    word = f"Ølga100%_{uuid.uuid4().hex[:8]}"
    user = new_user(api, name=f"Frau {word} Müller")
    found = api.get("/users/search", params={"name": word.upper()}).json()
    assert found["data"] == [user]
    assert api.get("/users/search", params={"name": word.replace("%", "x")}).json()["data"] == []


def test_posts_are_deleted_with_their_user(api: httpx.Client) -> None:
    user = new_user(api)
    body = {"user_id": user["id"], "title": "On engines", "content": "First line.\nSecond “line”."}
    posts = [api.post("/posts", json=body).json() for _ in range(3)]
    page = api.get("/posts", params={"user_id": user["id"], "order": "newest"}).json()
    assert page["data"] == posts[::-1]
    assert page["total"] == 3

    api.delete(f"/users/{user['id']}")

    assert api.get(f"/posts/{posts[0]['id']}").status_code == 404
    assert api.get("/posts", params={"user_id": user["id"]}).json()["total"] == 0


def test_a_post_of_an_unknown_user_is_rejected_and_not_written(api: httpx.Client) -> None:
    total = api.get("/posts").json()["total"]
    body = {"user_id": 9_000_000_000, "title": "Of an unknown user", "content": "…"}
    assert api.post("/posts", json=body).status_code == 400
    assert api.get("/posts").json()["total"] == total


def test_statistics_follow_writes(api: httpx.Client) -> None:
    before = api.get("/users/stats").json()
    user = new_user(api)
    after = api.get("/users/stats").json()
    assert after == {name: count + 1 for name, count in before.items()}
    api.post("/posts", json={"user_id": user["id"], "title": "One", "content": "…"})
    counts: dict[int, int] = {}
    path = "/posts/stats?limit=100"
    while path:
        page = api.get(path).json()
        counts |= {row["user_id"]: row["post_count"] for row in page["data"]}
        path = page["next"]
    assert counts[user["id"]] == 1


def test_the_response_to_an_invalid_request_is_a_problem(api: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    responses = {
        400: api.post("/users", content=b'{"name": ', headers=headers),
        404: api.get("/users/9000000000"),
        405: api.post("/users/stats", json={}),
        415: api.post("/users", content=b"name=x", headers={"content-type": "text/plain"}),
        422: api.post("/users", json={"name": "", "email": "nowhere"}),
    }
    for status, response in responses.items():
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status
        assert response.json()["detail"]
    assert responses[405].headers["allow"] == "GET, HEAD, OPTIONS"
    fields = {error["field"] for error in responses[422].json()["errors"]}
    assert fields == {"name", "email"}


def test_an_address_is_unique_in_any_case(api: httpx.Client) -> None:
    email = new_user(api)["email"]
    response = api.post("/users", json={"name": "Twin", "email": email.upper()})
    assert response.status_code == 409
    assert email not in response.text.lower()


def test_an_unknown_path_is_a_problem_for_every_method(api: httpx.Client) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        response = api.request(method, "/no/such/path")
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"


def test_a_path_is_decoded_once(api: httpx.Client) -> None:
    user = new_user(api)
    digits = [f"%{ord(digit):02X}" for digit in str(user["id"])]
    assert api.get(f"/users/{''.join(digits)}").json() == user
    assert api.get(f"/users/{''.join(digits).replace('%', '%25')}").status_code == 404


def test_every_response_has_a_request_id_and_echoes_the_clients(api: httpx.Client) -> None:
    assert api.get("/users/stats").headers["x-request-id"]
    echoed = api.get("/users/stats", headers={"X-Request-Id": "from-a-client-1"})
    assert echoed.headers["x-request-id"] == "from-a-client-1"


def test_head_is_get_without_its_content(api: httpx.Client) -> None:
    for path in ("/users", "/users/9000000000", "/openapi.json", "/docs"):
        get, head = api.get(path), api.head(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        for name in ("content-type", "cache-control", "content-security-policy"):
            assert head.headers[name] == get.headers[name]


def test_health_reports_all_services_up(api: httpx.Client) -> None:
    health = api.get("/health").json()
    assert health["redis"] in ("up", "none")
    assert health["postgresql"] in ("up", "unchecked")  # the latter where the database pauses
    assert health == {"status": "ok"} | {name: health[name] for name in ("postgresql", "redis")}


def test_the_docs_are_served_whole(api: httpx.Client) -> None:
    assert "swagger-ui-bundle.js" in api.get("/docs").text
    assert "SwaggerUIBundle" in api.get("/docs/swagger-ui-bundle.js").text
    assert "/users/{user_id}" in json.loads(api.get("/openapi.json").text)["paths"]
