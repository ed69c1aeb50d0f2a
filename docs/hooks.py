"""What `make docs` does beside mkdocs: the README is the first page, decisions list themselves, nothing is fetched.

Pages are written for whoever reads them in the repository. What leads out of `docs/` there has no page here: such a
link becomes its text, and the page of the ready-made folders is taken in.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).parent
ROOT = DOCS.parent
FOREIGN = {"index.md": "README.md", "ready-made.md": "policies/README.md"}
"""Pages of the site that lie elsewhere in the repository."""
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
LOADED = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(?:https?:)?//[^"'\s>]+""")
IMPORTED = re.compile(r"""(?:url\(|@import\s*)["']?(?:https?:)?//[^"')]+""")
FETCHED = re.compile(r"https://[a-z]+\.com/(?=[a-z-]+@)")
"""Where the theme's script would fetch two helpers: for diagrams, and for its search in pages opened as files."""


def on_config(config: Any) -> Any:
    adrs = sorted(DOCS.glob("adr/*.md"))
    listed = [{adr.read_text().partition("\n")[0].lstrip("# "): f"adr/{adr.name}"} for adr in adrs]
    config.nav.append({"Decisions": listed})
    return config


def on_files(files: Files, config: Any) -> Files:
    for name, path in FOREIGN.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def here(target: str, source: Path, page: str) -> str | None:
    """The same place, as a link from `page` of the site; None where the site does not have it."""
    path, hash_, anchor = target.partition("#")
    place = Path(os.path.normpath(source.parent / path)) if path else source
    for name, foreign in FOREIGN.items():
        if place == ROOT / foreign:
            return posixpath.relpath(name, posixpath.dirname(page) or ".") + hash_ + anchor
    if place.is_file() and place.is_relative_to(DOCS):
        return posixpath.relpath(place.relative_to(DOCS).as_posix(), posixpath.dirname(page) or ".") + hash_ + anchor
    return None


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    name = page.file.src_uri
    source = ROOT / FOREIGN[name] if name in FOREIGN else DOCS / name

    def moved(found: re.Match[str]) -> str:
        image, text, target = found.groups()
        if "://" in target:
            return found[0]
        place = here(target, source, name)
        return f"{image}[{text}]({place})" if place else text

    return LINK.sub(moved, markdown)


def on_post_build(config: Any) -> None:
    """Faults: a page or a style that loads anything from another host."""
    site = Path(config.site_dir)
    for script in site.rglob("*.js"):
        text = script.read_text()
        if FETCHED.search(text):
            script.write_text(FETCHED.sub("", text))
    for pattern, suffix in ((LOADED, "*.html"), (IMPORTED, "*.css")):
        for path in site.rglob(suffix):
            found = pattern.search(path.read_text())
            if found:
                raise PluginError(f"{path.relative_to(site)} loads something from elsewhere: {found[0]}")
