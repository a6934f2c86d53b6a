"""A browser in front of a whole service."""

from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page

from support.processes import System

KEY = "a key; with signs"
PATIENCE_MS = 30_000


@dataclass
class Desk:
    """A browser in front of a service, and what it complained about."""

    browser: Browser
    system: System
    complaints: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.system.port}"

    def page(self, **options: Any) -> Page:
        """Open a window of its own, without a key."""
        page = self.browser.new_context(base_url=self.address, **options).new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._heard)
        return page

    def signed_in(self, **options: Any) -> Page:
        page = self.page(**options)
        page.goto("/login")
        page.get_by_label("Key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("/")
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        # refusals that a form then tells of are said by the browser too
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)
