"""/docs in a browser: Swagger UI from this API alone, with the key that the page was given."""

from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.e2e.conftest import Stack


def test_docs_when_opened_then_every_operation_is_shown_and_one_can_be_tried(stack: Stack, open_page: OpenPage) -> None:
    page = open_page(stack.api_url)
    page.get_by_role("link", name="API reference").click()
    expect(page.locator(".opblock")).not_to_have_count(0)
    models = page.locator(".opblock-get", has=page.locator('[data-path="/v1/models"]'))
    models.locator(".opblock-summary").click()
    page.get_by_role("button", name="Try it out").first.click()
    page.get_by_role("button", name="Execute").first.click()
    expect(page.locator(".responses-table.live-responses-table")).to_contain_text("mnist")
