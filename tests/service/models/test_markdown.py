"""Texts of callers in Markdown, read again by a parser that takes raw HTML, tables and bare links."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from service.models.markdown import escaped

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OURS = r"</?(?:p|ul|li|table|thead|tbody|tr|th|td|h1)>"
PLACES = ("{}", "- {}", "- {} (numeric)", "| {} | b |\n|---|---|\n| {} | 1 |", "# {}, version 1", "a **bold** {}")
HOSTILE = (
    "# heading",
    "1. first",
    "1) first",
    "- item",
    "+ item",
    "=== ",
    "---",
    "> quote",
    "a|b",
    r"a\|b",
    r"a\\|b",
    "[text](http://evil.example)",
    "![text](http://evil.example/a.png)",
    "[heatmap]: http://evil.example",
    "line\n\n[heatmap]: http://evil.example",
    "line\r\n# heading",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- the rest is hidden",
    "<http://evil.example>",
    "&lt;b&gt; &#60;",
    "`code` ``more",
    "```",
    "~~~",
    "**bold** _slanted_ __bold__ ~~struck~~",
    "$x^2$",
    "ends with a backslash\\",
    "\\",
    "name_of_a_column",
)


def _reread(markdown: str) -> str:
    """Return the text that a reader sees."""
    return html.unescape(re.sub(OURS, "", READER.render(markdown)))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_with_marks_is_read_as_it_was_written(text, place):
    shown = READER.render(place.format(*[escaped(text)] * place.count("{}")))
    assert set(re.findall(r"<[^>]*>", shown)) - set(re.findall(OURS, shown)) <= {"<strong>", "</strong>"}
    assert " ".join(text.split()) in html.unescape(re.sub(r"<[^>]*>", "", shown))
    assert "http://" not in escaped(text), "some readers make links of bare addresses"


@given(st.text(alphabet=st.sampled_from("ab1 \\`*_[]()<>!#|~&;:=-+.\"'{}$\n\r\t"), max_size=30))
def test_any_text_of_marks_is_read_as_it_was_written(text):
    wanted = " ".join(text.split())
    assert wanted in _reread(f"- {escaped(text)} (numeric)")
    rows = READER.render(f"| a | b |\n|---|---|\n| {escaped(text)} | 1 |")
    assert re.sub(r"\s+", " ", html.unescape(re.findall(r"<td>(.*?)</td>", rows, re.S)[0])) == wanted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\0b", "aU+0000b"),
        ("\x1b[31mred", r"U+001B\[31mred"),
        ("\u202egnp.exe", "U+202Egnp.exe"),
        ("zero\u200bwidth", "zeroU+200Bwidth"),
        ("a\u2028b\x85c\x1cd", "a b c d"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("Zürich, 1.5 % (net)", "Zürich, 1.5 % (net)"),
    ],
)
def test_what_shows_nothing_is_named_and_what_people_write_stays(text, shown):
    assert escaped(text) == shown
