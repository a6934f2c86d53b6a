"""Pictures of the dashboard for docs/pictures: ``make screenshots``.

The pages are shown as a browser shows them first; ``--whole`` takes them to their end, to look at them.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page

from docs.tools.browser import chromium, find_chromium
from docs.tools.samples import fill
from service.local.embedded import private_service

PICTURES = Path(__file__).parents[1] / "pictures"
LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 960}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 960}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True, "is_mobile": True},
}
MAX_BYTES = 200_000


def pages(made: dict[str, str]) -> dict[str, str]:
    """Return the path of each page that has a picture, by the picture's name."""
    return {
        "overview": "/",
        "dataset": f"/datasets/{made['houses']}",
        "form": f"/jobs/new?dataset={made['houses']}",
        "model": f"/models/{made['fact']}",
        "matrix": f"/models/{made['cancer']}#matrix-title",
        "compare": f"/compare?ref={made['fact']}&ref={made['nfa']}#matrices",
        "search": f"/jobs/{made['tune']}",
    }


def settled(page: Page, address: str) -> None:
    """Open a page and return when everything on it has been drawn."""
    page.goto(address, wait_until="networkidle")
    page.wait_for_selector("html[data-ready]")
    page.evaluate("document.fonts.ready")


def take(browser: Browser, address: str, made: dict[str, str], out: Path, whole: bool) -> None:
    """Write the pictures of every page in every look."""
    out.mkdir(parents=True, exist_ok=True)
    for look, context in LOOKS.items():
        with browser.new_context(**context) as shown:  # type: ignore[arg-type]
            page = shown.new_page()
            for name, path in pages(made).items():
                settled(page, address + path)
                picture = out / f"{name}-{look}.png"
                page.screenshot(path=picture, full_page=whole, animations="disabled")
                size = picture.stat().st_size
                if not whole and size > MAX_BYTES:
                    raise SystemExit(f"{picture} has {size} bytes; {MAX_BYTES} are the most")


@contextmanager
def _service(address: str | None, made: Path | None) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the address of a service and what is in it; without an address one is started and filled."""
    if address is not None and made is not None:
        yield address, json.loads(made.read_text())
        return
    with private_service(print) as (started, _), httpx.Client(base_url=started, timeout=90) as client:
        yield started, fill(client)


def main() -> None:
    """Run from the command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--address", help="a running service, with --made")
    arguments.add_argument("--made", type=Path, help="what samples.fill returned for it, as JSON")
    arguments.add_argument("--out", type=Path, default=PICTURES)
    arguments.add_argument("--whole", action="store_true")
    given = arguments.parse_args()
    program = find_chromium()
    if program is None:
        raise SystemExit("pictures need chromium: apt-get install chromium")
    with _service(given.address, given.made) as (address, made), chromium(program) as browser:
        take(browser, address, made, given.out, given.whole)


if __name__ == "__main__":
    main()
