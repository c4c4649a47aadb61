"""One tour of the API that runs every statement of the writers and the articles."""

from typing import Any

import httpx

LONGEST_CONTENT = "\N{MUSICAL SYMBOL G CLEF}" * 10_000
"""Of the characters that take most bytes."""


def take_the_tour(api: httpx.Client) -> None:
    """On an empty database. Asserts each response."""
    ada = _tour_of_writers(api)
    _tour_of_articles(api, ada)
    assert api.get("/health").status_code == 200
    assert api.delete(f"/writers/{ada}").status_code == 204
    assert api.get("/writers").json()["total"] == 0
    assert api.get("/articles").json()["total"] == 0


def _tour_of_writers(api: httpx.Client) -> int:
    """The id of the writer that is left."""
    ada = _created(api, "/writers", {"name": "Ada", "email": "ada@example.org"})
    bob = _created(api, "/writers", {"name": "Bob", "email": "bob@example.org"})
    _created_once(api, "/writers", {"name": "Eve", "email": "eve@example.org"})
    taken = api.post("/writers", json={"name": "Ada", "email": "ADA@example.org"})
    assert taken.status_code == 409
    assert api.get(f"/writers/{ada}").json()["name"] == "Ada"
    assert api.get("/writers/4711").status_code == 404
    body = {"name": "Robert", "email": "robert@example.org"}
    assert api.put(f"/writers/{bob}", json=body).json()["email"] == "robert@example.org"
    assert api.patch(f"/writers/{bob}", json={"name": "Bobby"}).json()["name"] == "Bobby"
    first = api.get("/writers?limit=2").json()
    assert first["total"] == 3
    assert [writer["name"] for writer in first["data"]] == ["Ada", "Bobby"]
    assert [writer["name"] for writer in api.get(first["next"]).json()["data"]] == ["Eve"]
    assert len(api.get("/writers?skip=1&limit=2").json()["data"]) == 2
    found = api.get("/writers/search?name=bob").json()["data"]
    assert [writer["id"] for writer in found] == [bob]
    assert api.get("/writers/stats").json() == {"total_writers": 3}
    assert api.delete(f"/writers/{bob}").status_code == 204
    assert api.delete(f"/writers/{bob + 1}").status_code == 204
    return ada


def _tour_of_articles(api: httpx.Client, writer_id: int) -> None:
    notes = {"writer_id": writer_id, "title": "Notes", "content": LONGEST_CONTENT}
    first = _created(api, "/articles", notes)
    second = _created_once(api, "/articles", notes)
    assert api.post("/articles", json=notes | {"writer_id": 4711}).status_code == 400
    assert api.get(f"/articles/{first}").json()["content"] == notes["content"]
    assert api.put(f"/articles/{first}", json=notes | {"title": "New"}).json()["title"] == "New"
    assert api.patch(f"/articles/{first}", json={"title": "Newer"}).json()["title"] == "Newer"
    for path in ("/articles?limit=1", f"/articles?writer_id={writer_id}&order=newest"):
        assert api.get(path).json()["total"] == 2
    counts = api.get("/articles/stats").json()["data"]
    assert counts == [{"writer_id": writer_id, "article_count": 2}]
    assert api.delete(f"/articles/{second}").status_code == 204


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
