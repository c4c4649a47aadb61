"""Responses that needed a token are stored by the caller's own cache only."""

from tests.conftest import ApiOf, Worker
from tests.every_resource.document import DOCUMENT
from tests.layer.test_response_headers import responses
from tests.resources import RESOURCES


def test_responses_that_need_a_token_may_be_stored_by_private_caches_only(
    worker: Worker, api_of: ApiOf
) -> None:
    admin = api_of("admin")
    seen = set()
    for response in responses(admin):
        is_read = response.request.method in ("GET", "HEAD") and response.status_code < 400
        of_a_resource = response.url.path.split("/")[1] in {*RESOURCES, "writers"}
        if is_read and of_a_resource:
            assert response.headers["cache-control"] == "private, no-cache"
            seen.add(response.url.path)
        elif is_read and response.url.path != "/health":
            assert response.headers["cache-control"] == "no-cache"
    lists = {path for path in DOCUMENT["paths"] if path.removeprefix("/") in RESOURCES}
    assert seen >= {"/writers", *(path for path in lists if "get" in DOCUMENT["paths"][path])}
    tag = {"If-None-Match": admin.get("/writers").headers["etag"]}
    known = admin.get("/writers", headers=tag)
    assert known.status_code == 304
    assert known.headers["cache-control"] == "private, no-cache"
    worker.restart(PUBLIC_READS="true")
    assert api_of().get("/writers").headers["cache-control"] == "no-cache"
