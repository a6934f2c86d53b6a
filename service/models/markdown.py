"""Texts of callers inside Markdown: they are shown as they are, whatever marks they hold."""

import re
import unicodedata

MARKS = re.compile(r"([\\`*\[\]<>&|~$!{}]|(?<![^\W_])_|_(?![^\W_]))")
"""What begins a span, a link, a tag, an entity, a formula or a cell; an underscore between letters begins nothing."""
AT_START = re.compile(r"^([#+=-]|\d+(?=[.)]))")
"""What begins a heading, a list or a rule where it is the first of a line."""
LINK = re.compile(r"(?<=[a-z0-9+.-])(:)(?=//)|(?<=www)(\.)|(?<=mailto)(:)", re.I)
"""What makes a link of a bare address."""
ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
JOINERS = "\u200c\u200d"
"""They show nothing, and words of some scripts need them."""
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def escaped(text: str) -> str:
    """Return a text for one line of Markdown, also for a cell of a table.

    Line breaks and tabs are spaces. Other characters that show nothing or turn the direction of what follows are named
    by their numbers.
    """
    line = "".join(_visible(character) for character in re.sub(r"[\s\x1c-\x1f\x85]+", " ", text)).strip()
    marked = MARKS.sub(lambda match: ENTITIES.get(match[0], f"\\{match[0]}"), line)
    linked = LINK.sub(lambda match: f"&#{ord(match[0])};", marked)
    return AT_START.sub(lambda match: f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}", linked)


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in INVISIBLE and character not in JOINERS
    return f"U+{ord(character):04X}" if hidden else character
