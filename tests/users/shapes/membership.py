"""Tests of what docs/membership.md adds to teams and tickets; they are run in the copy."""

import httpx

from tests.conftest import ApiOf


def titles(api: httpx.Client, path: str = "/tickets") -> list[str]:
    return [ticket["title"] for ticket in api.get(path).json()["data"]]


def test_members_see_and_write_the_tickets_of_their_teams(api_of: ApiOf) -> None:
    root = api_of("admin", subject="root")
    ada, bob = (api_of("author", subject=name) for name in ("ada", "bob"))
    for user_id, (name, api) in enumerate({"ada": ada, "bob": bob}.items(), 1):
        assert api.post("/users", json={"name": name, "email": f"{name}@example.org"}).is_success
        assert root.post("/teams", json={"name": f"Team of {name}"}).is_success
        assert root.put(f"/teams/{user_id}/members/{user_id}").status_code == 204
    for team_id, api in ((1, ada), (2, bob)):
        ticket = {"team_id": team_id, "title": f"Of team {team_id}"}
        assert api.post("/tickets", json=ticket).status_code == 201
        assert api.post("/tickets", json=ticket | {"team_id": 3 - team_id}).status_code == 403

    for _ in range(2):  # the second time from the cache
        assert titles(ada) == ["Of team 1"]
        assert titles(bob) == ["Of team 2"]
        assert titles(root) == ["Of team 1", "Of team 2"]
        assert titles(ada, "/tickets?team_id=2") == []
        assert [team["id"] for team in ada.get("/teams").json()["data"]] == [1]
    for response in (
        ada.get("/tickets/2"),
        ada.patch("/tickets/2", json={"title": "Taken"}),
        ada.delete("/tickets/2"),
        ada.get("/teams/2"),
    ):
        assert response.status_code == 404
    assert ada.patch("/tickets/1", json={"team_id": 2}).status_code == 403
    assert ada.put("/teams/2/members/1").status_code == 403
    assert ada.patch("/tickets/1", json={"title": "Changed"}).status_code == 200

    assert root.put("/teams/2/members/1").status_code == 204
    assert titles(ada) == ["Changed", "Of team 2"]
    assert ada.patch("/tickets/1", json={"team_id": 2}).status_code == 200
    assert titles(bob) == ["Changed", "Of team 2"]
    assert root.delete("/teams/2/members/1").status_code == 204
    assert titles(ada) == []
