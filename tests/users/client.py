"""A client's requests, by the code that openapi-python-client makes from the OpenAPI document."""

import os
import uuid
from urllib.parse import parse_qs, urlsplit

from api_client import AuthenticatedClient
from api_client.api.users import (
    create_user,
    delete_user,
    get_user,
    list_users,
    search_users,
    update_user,
)
from api_client.models import (
    Problem,
    ProblemType,
    UserCreate,
    UserPage,
    UserPublic,
    UserSearchPage,
    UserUpdate,
)
from api_client.types import UNSET, Unset


def main() -> None:
    api = AuthenticatedClient(os.environ["BASE_URL"], os.environ["TOKEN"])
    with api:
        ada, body = create(api)
        page_by_next(api, ada)
        found = search_users.sync(client=api, name="lovelace")
        assert isinstance(found, UserSearchPage)
        assert ada.id in [user.id for user in found.data]
        change_as_known(api, ada)

        taken = create_user.sync_detailed(client=api, body=body)
        assert taken.status_code == 409
        assert isinstance(taken.parsed, Problem)
        assert taken.parsed.detail == "email: another user has this address."

        assert delete_user.sync_detailed(ada.id, client=api).status_code == 204
        assert get_user.sync_detailed(ada.id, client=api).status_code == 404
    print("the scenario passed")


def create(api: AuthenticatedClient) -> tuple[UserPublic, UserCreate]:
    """A retry with the same key creates nothing."""
    body = UserCreate(name="Ada Lovelace", email=f"{uuid.uuid4()}@example.com")
    key = str(uuid.uuid4())
    created, again = (
        create_user.sync_detailed(client=api, body=body, idempotency_key=key) for _ in range(2)
    )
    assert created.status_code == 201
    assert isinstance(created.parsed, UserPublic)
    assert again.parsed == created.parsed
    assert created.headers["Location"] == f"/users/{created.parsed.id}"
    return created.parsed, body


def page_by_next(api: AuthenticatedClient, ada: UserPublic) -> None:
    ids: list[int] = []
    cursor: str | Unset = UNSET
    while True:
        page = list_users.sync(client=api, limit=1, cursor=cursor)
        assert isinstance(page, UserPage)
        ids += [user.id for user in page.data]
        if page.next_ is None:
            break
        [cursor] = parse_qs(urlsplit(page.next_).query)["cursor"]
    assert ada.id in ids
    assert len(set(ids)) == len(ids)


def change_as_known(api: AuthenticatedClient, ada: UserPublic) -> None:
    """Of two changes with one ETag the second is rejected."""
    etag = get_user.sync_detailed(ada.id, client=api).headers["ETag"]
    body = UserUpdate(name="Ada King")
    first, second = (
        update_user.sync_detailed(ada.id, client=api, body=body, if_match=etag) for _ in range(2)
    )
    assert isinstance(first.parsed, UserPublic)
    assert first.parsed.name == "Ada King"
    assert second.status_code == 412
    assert isinstance(second.parsed, Problem)
    assert second.parsed.type_ is ProblemType.PRECONDITION_FAILED


if __name__ == "__main__":
    main()
