"""The HTML pages: Swagger UI and the problem types. They load nothing from other hosts.

Their content security policies allow inline scripts and styles by hash and, for Swagger UI, its two
files, the images in its style sheet, and the API itself. Links are relative, as paths may have a
base path.
"""

import gzip
import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import blake2s, sha256
from html import escape
from importlib.util import find_spec
from pathlib import Path

from shared.errors import ApiError, concrete_errors

TITLE = "Users & Posts API"
SWAGGER_UI_FILES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}

SWAGGER_UI_SCRIPT = """
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""

PROBLEMS_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem }
h2 { margin: 2rem 0 0 } code { background: #eee; padding: .1em .3em } :target { color: #b00 }
"""

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
ZERO_WEIGHT = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")


@dataclass(frozen=True)
class Page:
    """A page and its content security policy."""

    html: str
    policy: str


@cache
def swagger_ui_page() -> Page:
    css, bundle = (f"docs/{name}?v={swagger_ui_version(name)}" for name in SWAGGER_UI_FILES)
    head = f'<link rel="stylesheet" href="{css}">'
    body = f"""<div id="swagger-ui"></div>
<script src="{bundle}"></script>
<script>{SWAGGER_UI_SCRIPT}</script>"""
    scripts = f"script-src 'self' {_hash_of(SWAGGER_UI_SCRIPT)}"
    others = "style-src 'self'; img-src 'self' data:; connect-src 'self'"
    return Page(_html(TITLE, head, body), f"{POLICY}; {scripts}; {others}")


@cache
def problems_page() -> Page:
    errors = sorted(concrete_errors(), key=lambda error: (error.status, error.code))
    problems = "\n".join(map(_problem, errors))
    body = f"""<h1>Problems</h1>
<p>Every error is a response of type <code>application/problem+json</code> (RFC 9457). Its
<code>type</code> links here; its <code>detail</code> describes the occurrence.</p>
{problems}"""
    html = _html(f"Problems of the {TITLE}", f"<style>{PROBLEMS_STYLE}</style>", body)
    return Page(html, f"{POLICY}; style-src {_hash_of(PROBLEMS_STYLE)}; img-src data:")


def _html(title: str, head: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
{head}
</head>
<body>
{body}
</body>
</html>
"""


@cache
def swagger_ui_file(name: str) -> bytes:
    """Return a file of `SWAGGER_UI_FILES`."""
    package = find_spec("fastapi_swagger")
    assert package is not None
    assert package.origin is not None
    return (Path(package.origin).parent / "resources" / name).read_bytes()


@cache
def compressed(content: bytes) -> bytes:
    """Return the content, compressed by gzip: 0.5 MB of the script's 1.7."""
    return gzip.compress(content, compresslevel=6, mtime=0)


@cache
def swagger_ui_version(name: str) -> str:
    """Return a hash of the file's content."""
    return blake2s(swagger_ui_file(name), digest_size=8).hexdigest()


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip, or all encodings, with a weight above 0 (RFC 9110, 12.5.3)."""
    accepted = {}
    for element in accept_encoding.lower().split(","):
        encoding, _, weight = element.partition(";")
        accepted[encoding.strip()] = not ZERO_WEIGHT.fullmatch(weight)
    return accepted.get("gzip", accepted.get("*", False))


def _hash_of(inline: str) -> str:
    """Return the CSP source expression that allows only this script or style."""
    return f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'"


def _problem(problem: type[ApiError]) -> str:
    heading = f'<h2 id="{problem.code}">{problem.status} {problem.title}</h2>'
    return f"{heading}\n<p>{_to_html(problem.description)}</p>"


def _to_html(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
