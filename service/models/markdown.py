"""Escaping of texts for Markdown."""

import re
import unicodedata

MARKS = re.compile(r"([\\`*\[\]<>&|~$!{}]|(?<![^\W_])_|_(?![^\W_]))")
"""Characters that start a span, link, tag, entity, formula or cell. An underscore inside a word starts nothing."""
AT_START = re.compile(r"^([#+=-]|\d+(?=[.)]))")
"""Characters that start a heading, list or rule at the beginning of a line."""
LINK = re.compile(r"(?<=[a-z0-9+.-])(:)(?=//)|(?<=www)(\.)|(?<=mailto)(:)", re.I)
"""Characters that turn a bare address into a link."""
ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
JOINERS = "\u200c\u200d"
"""Invisible, but needed in words of some scripts."""
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def escaped(text: str) -> str:
    """Return a text for one line of Markdown or a cell of a table.

    Whitespace becomes spaces. Other invisible characters and those that change the direction of text are written as
    their code points.
    """
    line = "".join(_visible(character) for character in re.sub(r"[\s\x1c-\x1f\x85]+", " ", text)).strip()
    marked = MARKS.sub(lambda match: ENTITIES.get(match[0], f"\\{match[0]}"), line)
    linked = LINK.sub(lambda match: f"&#{ord(match[0])};", marked)
    return AT_START.sub(lambda match: f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}", linked)


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in INVISIBLE and character not in JOINERS
    return f"U+{ord(character):04X}" if hidden else character
