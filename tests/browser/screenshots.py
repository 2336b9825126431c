"""Pictures of the page in use, at three widths, light and dark: `python -m tests.browser.screenshots URL FOLDER`.

URL: of a running stack (`make up`) without keys. They are looked at by people; docs/page.png is one of them.
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.browser.test_page import WIDTHS, used


def main(url: str, folder: Path) -> None:
    """Take them all."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                _take(browser, url, width, scheme, folder / f"{width}-{scheme}.png")
        browser.close()


def _take(browser: Browser, url: str, width: int, scheme: str, path: Path) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#try-model option", state="attached")
    used(page)
    page.evaluate("scrollTo(0, 0)")
    # What is out of sight is not laid out, so the window is made as high as the page, and the page measured again.
    for _ in range(3):
        page.set_viewport_size({"width": width, "height": page.evaluate("document.documentElement.scrollHeight")})
        page.wait_for_timeout(1000)
    page.screenshot(path=path)
    print(path)
    context.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
