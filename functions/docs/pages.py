"""The pages for people, which load nothing from outside: Swagger UI, and the problem types."""

import gzip
import re
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path

from blog.errors import ApiError

SWAGGER_UI_FILES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}

SWAGGER_UI = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Users &amp; Posts API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
</script>
</body>
</html>
"""

PROBLEMS = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Problems of the Users &amp; Posts API</title>
<link rel="icon" href="data:,">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto }}
h2 {{ margin: 2rem 0 0 }} code {{ background: #eee; padding: .1em .3em }} :target {{ color: #b00 }}
</style>
</head>
<body>
<h1>Problems</h1>
<p>Every error is answered as <code>application/problem+json</code> (RFC 9457). Its
<code>type</code> leads here; its <code>detail</code> says what happened to your request.</p>
{problems}
</body>
</html>
"""

PROBLEM = '<h2 id="{code}">{status} {title}</h2>\n<p>{text}</p>'


@cache
def swagger_ui_file(name: str) -> bytes:
    """A file of `SWAGGER_UI_FILES`, gzipped: the script is 1.7 MB without."""
    package = find_spec("fastapi_swagger")
    assert package is not None
    assert package.origin is not None
    return gzip.compress((Path(package.origin).parent / "resources" / name).read_bytes())


@cache
def problems_page() -> str:
    problems = sorted(_concrete(ApiError), key=lambda problem: (problem.status, problem.code))
    return PROBLEMS.format(problems="\n".join(map(_problem, problems)))


def _problem(problem: type[ApiError]) -> str:
    return PROBLEM.format(
        code=problem.code,
        status=problem.status,
        title=problem.title,
        text=_marked_up(problem.meaning),
    )


def _marked_up(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _concrete(parent: type[ApiError]) -> list[type[ApiError]]:
    """All errors below that have a code of their own."""
    found = []
    for error in parent.__subclasses__():
        if "code" in vars(error):
            found.append(error)
        found += _concrete(error)
    return found
