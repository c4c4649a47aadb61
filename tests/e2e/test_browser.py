"""The docs page in a real browser that can reach nothing but the API."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from tests.e2e import targets
from tests.sample_resource import SampleResource

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, BROWSERS)), "chromium")
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=executable, args=OPTIONS)
        except Error:
            pytest.skip("no Chromium starts: `apt-get install chromium`")
        yield started


@pytest.fixture
def page(browser: Browser, docker_free_api: httpx.Client) -> Iterator[Page]:
    with opened(browser, docker_free_api) as page:
        yield page


@contextmanager
def opened(browser: Browser, api: httpx.Client) -> Iterator[Page]:
    """A page that fails the test on any request to elsewhere, and on any error of a script or of
    the content security policy."""
    origin = str(api.base_url).rstrip("/")
    troubles: list[str] = []
    with browser.new_page(base_url=origin) as page:
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "console",
            lambda message: troubles.append(message.text) if message.type == "error" else None,
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((origin, "data:", "blob:"))
                else troubles.append(request.url)
            ),
        )
        yield page
    assert troubles == []


def create(page: Page, sample: SampleResource) -> str:
    """The status that Swagger UI shows for this operation."""
    operation = page.locator(f"#operations-{sample.name}-{sample.operation('post')}")
    operation.locator("button.opblock-summary-control").click()
    operation.locator("textarea").fill(json.dumps(sample.body()))
    operation.get_by_role("button", name="Execute").click()
    response = operation.locator(".live-responses-table .response-col_status").last
    response.wait_for()
    return response.inner_text()


def test_try_it_out_creates_an_item_through_the_api(
    page: Page, docker_free_api: httpx.Client, sample: SampleResource
) -> None:
    total = docker_free_api.get(sample.path).json()["total"]
    page.goto("/docs")
    assert create(page, sample).startswith("201")
    assert docker_free_api.get(sample.path).json()["total"] == total + 1


def test_a_token_that_is_entered_under_authorize_is_sent(
    browser: Browser, closed_api: httpx.Client, sample: SampleResource
) -> None:
    with opened(browser, closed_api) as page:
        page.goto("/docs")
        page.get_by_role("button", name="Authorize").first.click()
        page.locator(".modal-ux input").fill(targets.token(closed_api, "author", "swagger"))
        page.locator(".modal-ux button.authorize").click()
        page.locator(".modal-ux button.btn-done").click()
        assert create(page, sample).startswith("201")


def test_the_page_lists_every_operation(page: Page, docker_free_api: httpx.Client) -> None:
    paths = docker_free_api.get("/openapi.json").json()["paths"]
    page.goto("/docs")
    page.locator(".opblock").first.wait_for()
    assert page.locator(".opblock").count() == sum(len(methods) for methods in paths.values())


def test_a_problems_type_leads_to_its_explanation(
    page: Page, docker_free_api: httpx.Client
) -> None:
    page.goto(docker_free_api.get("/no/such/path").json()["type"])
    assert page.locator(":target").inner_text() == "404 Not found"
