"""Links of a built site: every one leads to a page and a place on it, and nothing is loaded from elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Links(HTMLParser):
    """What one page points at: (tag, address), and the places on it that can be pointed at."""

    found: list[tuple[str, str]] = field(default_factory=list)
    places: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses and names of a tag."""
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.found.append((tag, value))
            elif name in ("id", "name") and value:
                self.places.add(value)


def wrong(site: Path) -> list[str]:
    """Return a line for every link of the pages under ``site`` that leads nowhere, or loads from another host."""
    pages = sorted(site.rglob("*.html"))
    return [line for page in pages if page.name != "404.html" for line in _wrong(site, page)]


def _wrong(site: Path, page: Path) -> Iterator[str]:
    where = page.relative_to(site)
    for tag, address in _read(page).found:
        parts = urlsplit(address)
        if parts.scheme == "data":
            continue
        if parts.scheme or parts.netloc:
            if tag != "a":
                yield f"{where}: <{tag}> loads {address} from another host"
            continue
        target = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
        if target.is_dir():
            target /= "index.html"
        if not target.is_relative_to(site.resolve()) and target != page:
            yield f"{where}: {address} leaves the site"
        elif not target.exists():
            yield f"{where}: there is nothing at {address}"
        elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in _read(target).places:
            yield f"{where}: {target.name} has no place {parts.fragment!r}"


@cache
def _read(page: Path) -> Links:
    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links
