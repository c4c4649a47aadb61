"""A sandbox as a process of its own: requests in on stdin, answers out on stdout, a line each.

A request is `{"method", "path", "body"}`, with `"headers"` where it has some; an answer is
`{"status", "body"}`. What the handlers log goes to stderr.
"""

import json
import sys
from contextlib import redirect_stdout

import httpx

from tests.in_process import LambdaTransport


def main() -> None:
    answers = sys.stdout
    with (
        redirect_stdout(sys.stderr),
        httpx.Client(transport=LambdaTransport(), base_url="http://api.test") as api,
    ):
        for line in sys.stdin:
            request = json.loads(line)
            answer = api.request(
                request["method"],
                request["path"],
                json=request["body"],
                headers=request.get("headers"),
            )
            print(
                json.dumps({"status": answer.status_code, "body": answer.text}),
                file=answers,
                flush=True,
            )


if __name__ == "__main__":
    main()
