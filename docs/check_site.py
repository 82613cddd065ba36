"""Go through a built site: every link within it leads somewhere, and no page loads anything from another host.

python docs/check_site.py build/site
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "video": "src"}
"""Attributes by which a page loads something. ``link`` is looked at by itself: not all of them load."""
LOADED_LINKS = {"stylesheet", "icon", "preload", "preconnect", "prefetch", "dns-prefetch", "modulepreload"}
IN_STYLES = re.compile(r"""(?:@import\s+|url\(\s*)["']?((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of ids, links and what is loaded."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADING and LOADING[tag] in values:
            self.loads.append(values[LOADING[tag]])
        if tag == "link" and LOADED_LINKS & set(values.get("rel", "").split()):
            self.loads.append(values["href"])


def faults(site: Path) -> list[str]:
    """What is wrong with the site in a folder, a sentence each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        here = path.relative_to(site)
        found += [f"{here}: loads {url} from another host" for url in page.loads if _elsewhere(url)]
        within = [url for url in (*page.links, *page.loads) if not _elsewhere(url)]
        found += [f"{here}: {url} leads nowhere" for url in within if not _leads_somewhere(path, url, pages)]
    for path in sorted(site.rglob("*.css")):
        found += [
            f"{path.relative_to(site)}: loads {url} from another host"
            for url in IN_STYLES.findall(path.read_text(encoding="utf-8"))
        ]
    return found


def _elsewhere(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme in ("mailto", "data")


def _leads_somewhere(path: Path, url: str, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(url)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return False
    # what stands in the fragment of other files (a folded page of a survey, an image) is theirs to say
    known = pages.get(target)
    return not parts.fragment or known is None or unquote(parts.fragment) in known.anchors


def main() -> int:
    """Check the site in the folder that the argument names."""
    site = Path(sys.argv[1]).resolve()
    if not (site / "index.html").is_file():
        print(f"{site} has no index.html; build the site first: make docs", file=sys.stderr)
        return 2
    wrong = faults(site)
    print("\n".join(wrong) if wrong else f"{site}: all links lead somewhere, nothing is loaded from another host")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
