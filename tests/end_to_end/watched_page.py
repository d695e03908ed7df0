"""A page that remembers what it must not do, and a press that waits until it is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


# What comes into view is drawn and may push the rest, so that a press can end beside what it began on.
_IS_STILL = """async element => {
  const place = () => JSON.stringify(element.getBoundingClientRect());
  for (let before = null, now = place(); before !== now; before = now, now = place()) {
    await new Promise(resolve => setTimeout(resolve, 250));
  }
}"""


class Watched:
    """A page, and everything that it must not do: requests to other origins, console errors, uncaught exceptions."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.foreign: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self._note(request.url, origin))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note(self, url: str, origin: str) -> None:
        if not url.startswith((origin, "data:", "blob:", "about:")):
            self.foreign.append(url)

    def assert_clean(self) -> None:
        """Fail if anything left the origin or went wrong."""
        assert self.foreign == [], f"requests left the origin: {self.foreign}"
        assert self.errors == [], f"the console shows errors: {self.errors}"


def press_still(target: Locator) -> None:
    """Press as soon as the target stands still."""
    target.scroll_into_view_if_needed()
    target.evaluate(_IS_STILL)
    target.click()


def write_code(page: Page, cell: Locator, code: str) -> None:
    """Put `code` in the place of what a cell holds, opening its editor by a press on the code if need be."""
    editor = cell.locator(".cm-content")
    if not editor.is_visible():
        press_still(cell.locator(".cell_input pre").first)
    editor.click()
    page.keyboard.press("Control+a")
    # Into an empty editor: Firefox adds lines around text that is put in the place of another.
    page.keyboard.press("Delete")
    page.keyboard.insert_text(code)
