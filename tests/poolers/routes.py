"""One tour of the API that runs every statement of the users and the posts."""

from typing import Any

import httpx

LONGEST_CONTENT = "\N{MUSICAL SYMBOL G CLEF}" * 10_000
"""Of the characters that take most bytes."""


def take_the_tour(api: httpx.Client) -> None:
    """On an empty database. Asserts each response."""
    ada = _tour_of_users(api)
    _tour_of_posts(api, ada)
    assert api.get("/health").status_code == 200
    assert api.delete(f"/users/{ada}").status_code == 204
    assert api.get("/users").json()["total"] == 0
    assert api.get("/posts").json()["total"] == 0


def _tour_of_users(api: httpx.Client) -> int:
    """The id of the user that is left."""
    ada = _created(api, "/users", {"name": "Ada", "email": "ada@example.org"})
    bob = _created(api, "/users", {"name": "Bob", "email": "bob@example.org"})
    _created_once(api, "/users", {"name": "Eve", "email": "eve@example.org"})
    taken = api.post("/users", json={"name": "Ada", "email": "ADA@example.org"})
    assert taken.status_code == 409
    assert api.get(f"/users/{ada}").json()["name"] == "Ada"
    assert api.get("/users/4711").status_code == 404
    body = {"name": "Robert", "email": "robert@example.org"}
    assert api.put(f"/users/{bob}", json=body).json()["email"] == "robert@example.org"
    assert api.patch(f"/users/{bob}", json={"name": "Bobby"}).json()["name"] == "Bobby"
    first = api.get("/users?limit=2").json()
    assert first["total"] == 3
    assert [user["name"] for user in first["data"]] == ["Ada", "Bobby"]
    assert [user["name"] for user in api.get(first["next"]).json()["data"]] == ["Eve"]
    assert len(api.get("/users?skip=1&limit=2").json()["data"]) == 2
    found = api.get("/users/search?name=bob&created_after=2000-01-01").json()["data"]
    assert [user["id"] for user in found] == [bob]
    assert api.get("/users/stats").json() == {"total_users": 3, "users_last_7_days": 3}
    assert api.delete(f"/users/{bob}").status_code == 204
    assert api.delete(f"/users/{bob + 1}").status_code == 204
    return ada


def _tour_of_posts(api: httpx.Client, user_id: int) -> None:
    notes = {"user_id": user_id, "title": "Notes", "content": LONGEST_CONTENT}
    first = _created(api, "/posts", notes)
    second = _created_once(api, "/posts", notes)
    assert api.post("/posts", json=notes | {"user_id": 4711}).status_code == 400
    assert api.get(f"/posts/{first}").json()["content"] == notes["content"]
    assert api.put(f"/posts/{first}", json=notes | {"title": "New"}).json()["title"] == "New"
    assert api.patch(f"/posts/{first}", json={"title": "Newer"}).json()["title"] == "Newer"
    for path in ("/posts?limit=1", f"/posts?user_id={user_id}&order=newest"):
        assert api.get(path).json()["total"] == 2
    counts = api.get("/posts/stats").json()["data"]
    assert counts == [{"user_id": user_id, "post_count": 2}]
    assert api.delete(f"/posts/{second}").status_code == 204


def _created(api: httpx.Client, path: str, body: dict[str, Any]) -> int:
    response = api.post(path, json=body)
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


def _created_once(api: httpx.Client, path: str, body: dict[str, Any]) -> int:
    headers = {"Idempotency-Key": f"tour-of-{path}"}
    first, again = (api.post(path, json=body, headers=headers) for _ in range(2))
    assert first.status_code == again.status_code == 201, first.text
    assert first.json() == again.json()
    return int(first.json()["id"])
