"""A built site is looked through as a reader's browser would go through it."""

from pathlib import Path

import pytest

from docs.tools import links

PAGE = '<html><head>{head}</head><body><h2 id="place">Place</h2>{body}</body></html>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "page.html").write_text(PAGE.format(head="", body='<a href="../index.html#place">home</a>'))
    (tmp_path / "picture.png").touch()
    return tmp_path


def test_links_to_pages_places_files_and_other_hosts_are_well(site: Path) -> None:
    body = '<a href="inner/page.html#place">in</a><a href="#place">here</a><img src="picture.png">'
    (site / "index.html").write_text(PAGE.format(head="", body=f'{body}<a href="https://arxiv.org/">out</a>'))
    assert links.wrong(site) == []


@pytest.mark.parametrize(
    ("head", "body", "words"),
    [
        ("", '<a href="gone.html">x</a>', "there is nothing at gone.html"),
        ("", '<img src="gone.png">', "there is nothing at gone.png"),
        ("", '<a href="inner/page.html#gone">x</a>', "page.html has no place 'gone'"),
        ("", '<a href="#gone">x</a>', "index.html has no place 'gone'"),
        ("", '<a href="../outside.html">x</a>', "leaves the site"),
        ('<script src="https://cdn.example/a.js"></script>', "", "loads https://cdn.example/a.js from another host"),
        ('<link rel="stylesheet" href="//fonts.example/a.css">', "", "from another host"),
    ],
)
def test_a_link_to_nothing_and_a_load_from_elsewhere_are_told(site: Path, head: str, body: str, words: str) -> None:
    (site / "index.html").write_text(PAGE.format(head=head, body=body))
    [line] = links.wrong(site)
    assert line.startswith("index.html: ")
    assert words in line
