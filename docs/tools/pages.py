"""What MkDocs is told beside its configuration: pages made from the code, pages of other folders, and their links.

A page links to files as they lie in the repository, so that it can also be read there. In the site, ``docs/`` is the
root. Links to other carried pages are made to fit. Links to files that the site does not carry lose their link and keep
their text. A link to nothing is a warning, and the build is strict.
"""

import logging
import os
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.tools import links, reference

log = logging.getLogger("mkdocs.plugins.pages")

REPOSITORY = Path(__file__).parents[2]
CARRIED = ("CHANGELOG.md", "benchmarks/README.md", "benchmarks/results/*.md", "benchmarks/results/*.png")
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^ *(```|~~~)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code and those of other folders, and fill the navigation's stars."""
    for name, text in reference.pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for pattern in CARRIED:
        for path in sorted(REPOSITORY.glob(pattern)):
            uri = path.relative_to(REPOSITORY).as_posix()
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    pages = sorted(file.src_uri for file in files.documentation_pages())
    named = set(_named(config.nav or []))
    config.nav = _filled(config.nav or [], [one for one in pages if one not in named])
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with links as the site needs them; code is left as it is."""
    here = page.file.src_uri
    found, fenced = [], False
    for line in markdown.splitlines():
        if FENCE.match(line):
            fenced = not fenced
        found.append(line if fenced else LINK.sub(lambda match: _link(match, here, files), line))
    return "\n".join(found)


def on_post_build(config: MkDocsConfig) -> None:
    """Look at every link of the built pages once more.

    Raises:
        PluginError: one leads nowhere, or a page loads something from another host.
    """
    wrong = links.wrong(Path(config.site_dir))
    if wrong:
        raise PluginError("\n".join(wrong))


def _link(match: re.Match[str], here: str, files: Files) -> str:
    text, place, anchor = match[1], match[2], match[3] or ""
    if "://" in place or place.startswith("mailto:"):
        return match[0]
    # where the page lies in the repository, and what it points at there
    folder = os.path.dirname(here if _is_carried(here) else f"docs/{here}")  # noqa: PTH120 - an address, not a file
    target = os.path.normpath(os.path.join(folder, place))  # noqa: PTH118
    site = target.removeprefix("docs/")
    if files.get_file_from_path(site) is not None:
        return f"{text}({os.path.relpath(site, os.path.dirname(here) or '.')}{anchor})"  # noqa: PTH120
    if not (REPOSITORY / target).exists():
        log.warning("%s: there is nothing at %s", here, place)
    elif text.startswith("!"):
        log.warning("%s: the picture %s is not carried into the site", here, place)
    return text[1:-1]


def _is_carried(uri: str) -> bool:
    return any(fnmatch(uri, pattern) for pattern in CARRIED)


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [name for one in inner for name in _named(one)]


def _filled(nav: Any, unnamed: list[str]) -> Any:
    if isinstance(nav, dict):
        return {name: _filled(inner, unnamed) for name, inner in nav.items()}
    if isinstance(nav, str):
        return nav
    filled: list[Any] = []
    for one in nav:
        if isinstance(one, str) and one.endswith("/*"):
            filled += [uri for uri in unnamed if os.path.dirname(uri) == one.removesuffix("/*")]  # noqa: PTH120
        else:
            filled.append(_filled(one, unnamed))
    return filled
