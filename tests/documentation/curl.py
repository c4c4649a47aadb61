"""The code blocks of a page, and its curl commands sent to the API in this process."""

import re

import httpx

BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return [block for found, block in BLOCK.findall(text) if found == language]


def send(api: httpx.Client, command: str) -> httpx.Response:
    """Send the request that the curl command would."""
    target = re.search(r"http://127\.0\.0\.1:3000([^\s']*)", command)
    assert target is not None
    method = re.search(r"-X (\w+)", command)
    body = re.search(r"-d '([^']+)'", command)
    headers = re.findall(r"-H '([^:]+): ([^']+)'", command)
    return api.request(
        method[1] if method else "GET",
        target[1],
        content=body[1] if body else None,
        headers=headers,
    )
