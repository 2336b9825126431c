"""API keys on the page: asked for, kept for the tab, and said clearly what one cannot do."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, draw, ferry
from tests.browser.strokes import RECORDED
from tests.e2e.conftest import Stack, StartStack

pytestmark = pytest.mark.timeout(300)
WRONG = "ferry_000000000000_" + "x" * 43


@pytest.fixture(scope="module")
def locked(start_stack: StartStack) -> Stack:
    """A stack whose API asks for keys."""
    return start_stack(FERRY_API_KEYS="on", FERRY_WORKERS="1")


def make_key(stack: Stack, name: str, scopes: str) -> str:
    return re.findall(
        r"ferry_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", ferry(stack, "keys", "create", name, "--scopes", scopes)
    )[0]


def give(page: Page, key: str) -> None:
    page.locator("#key-button").click()
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()


def use_new(page: Page, stack: Stack, name: str) -> str:
    """Give the page a new key that may submit and read; returns it."""
    key = make_key(stack, name, "submit,read")
    give(page, key)
    expect(page.locator("#key-status")).to_have_text(f"Key “{name}”: read, submit")
    return key


def test_key_when_none_is_given_then_said_where_it_is_missed(locked: Stack, open_page: OpenPage) -> None:
    page = open_page(locked.api_url)
    expect(page.locator("#key-status")).to_have_text("No API key given")
    notes = page.locator(".lack:visible")
    expect(notes).to_have_count(5)
    expect(notes.first).to_contain_text(
        "This API asks for a key: without one this page cannot send or cancel anything."
    )
    page.get_by_role("button", name="Send as a job").click()
    expect(page.locator("#try-error")).not_to_be_empty()
    page.get_by_role("button", name="Give a key").click()
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("#key-error")).to_contain_text("Paste a key")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#key-dialog")).to_be_hidden()


def test_key_when_wrong_then_the_words_of_the_api(locked: Stack, open_page: OpenPage) -> None:
    page = open_page(locked.api_url)
    give(page, WRONG)
    expect(page.locator("#key-error")).to_contain_text("this API key is not known or was revoked")
    give_again = page.get_by_label("Key", exact=True)
    give_again.fill("not a key")
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("#key-error")).to_contain_text("no spaces")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#key-status")).to_have_text("API key refused")
    expect(page.locator(".lack:visible").first).to_contain_text("This API key is not known or was revoked: with it")


def test_key_when_it_may_only_read_then_said_and_the_rest_works(locked: Stack, open_page: OpenPage) -> None:
    page = open_page(locked.api_url)
    give(page, make_key(locked, "reader", "read"))
    expect(page.locator("#key-dialog")).to_be_hidden()
    expect(page.locator("#key-status")).to_have_text("Key “reader”: read")
    expect(page.locator("#fleet-models tr")).to_have_count(1)
    words = page.locator(".lack:visible")
    expect(words).to_have_count(4)
    expect(words.first).to_have_text(
        "The key “reader” has the scope read: it cannot send or cancel anything. That needs the scope submit."
    )
    draw(page, RECORDED["1"])
    page.get_by_role("button", name="Send as a job").click()
    expect(page.locator("#try-error")).to_contain_text("needs a key with scope submit")
    page.locator("#many-send").click()
    expect(page.locator("#many-error")).to_contain_text("needs a key with scope submit")


def test_key_when_good_then_used_kept_for_the_tab_only_and_never_shown(locked: Stack, open_page: OpenPage) -> None:
    page = open_page(locked.api_url)
    key = use_new(page, locked, "visitor")
    expect(page.locator(".lack:visible")).to_have_count(1)  # dead letters are an operator's
    page.reload()
    expect(page.locator("#key-status")).to_have_text("Key “visitor”: read, submit")
    draw(page, RECORDED["2"])
    page.get_by_role("button", name="Send as a job").click()
    expect(page.locator("#try-answer")).to_have_text("Answer: 2")
    page.get_by_text("Copy what was just sent").click()
    expect(page.locator("#try-snippet")).to_contain_text("$FERRY_API_KEY")
    assert key not in page.content()
    assert page.evaluate("JSON.stringify({...localStorage}) + document.cookie") == "{}"
    other = page.context.new_page()
    other.goto(locked.api_url)
    expect(other.locator("#key-status")).to_have_text("No API key given")


def test_key_when_revoked_while_the_page_is_open_then_said(locked: Stack, open_page: OpenPage) -> None:
    page = open_page(locked.api_url)
    key = use_new(page, locked, "leaving")
    ferry(locked, "keys", "revoke", key.split("_")[1])
    page.wait_for_timeout(1500)  # a key is remembered for a second
    draw(page, RECORDED["2"])
    page.get_by_role("button", name="Send as a job").click()
    expect(page.locator("#try-error")).to_contain_text("not known or was revoked")
    expect(page.locator("#key-status")).to_have_text("API key refused")


def test_bulk_when_a_key_is_needed_then_downloads_carry_it(locked: Stack, open_page: OpenPage) -> None:
    page = open_page(locked.api_url)
    give(page, make_key(locked, "filer", "submit,read"))
    expect(page.locator("#bulk-model option")).not_to_have_count(0)
    row = b'{"input": {"x": ' + str([[0.0] * 28] * 28).encode() + b"}}\n"
    page.locator("#bulk-file").set_input_files({"name": "one.jsonl", "mimeType": "text/plain", "buffer": row})
    page.get_by_role("button", name="Run the file").click()
    card = page.locator("article.batch").filter(has_text="one.jsonl")
    expect(card.locator(".chip")).to_have_text("completed")
    with page.expect_download() as coming:
        card.get_by_text("Download output").click()
    assert coming.value.suggested_filename.endswith(".jsonl")
    expect(card.get_by_text("Download output")).to_be_visible()
