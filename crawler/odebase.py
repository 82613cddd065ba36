"""ODEbase: https://www.odebase.org, or a mirror of it. HTML pages with text inside; no JSON is known.

What is kept of a system is one JSON document with the texts as found; they are turned into mathematics by whoever
reads the store. Nothing there has a checksum, so every text is read until two readings agree, or one carries its
own digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final

from crawler.errors import BadResponseError, NotFoundError, SelectionError
from crawler.repository import Catalogue, CatalogueEntry, FetchedFile, Known, Refused, Selection, Unchanged, settle
from crawler.session import ParsedResponse, Response, Session

__all__ = ["BASE_URL", "HOSTS", "OdeBase"]

BASE_URL: Final = "https://www.odebase.org"
HOSTS: Final = frozenset({"www.odebase.org", "odebase.org"})

_ANY: Final = {"num_species_range": "-", "num_parameters_range": "-", "deficiency_range": "-"}
# Whether the two flags of the table narrow or widen is not documented; the union of both is right either way.
_TABLES: Final = ({"is_rational": "True", "is_polynomial": "True", **_ANY}, {"is_rational": "True", **_ANY})
_DETAIL: Final = re.compile(r"/detail/([0-9]{1,18})/?$")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*\s*=\s*\S")
TEXTS: Final = {
    "odes": "detail/odes/{ref}/sage",
    "parameters": "detail/parameters/{ref}/sage",
    "species_map": "detail/species_map/{ref}/text",
    "parameter_map": "detail/parameter_map/{ref}/text",
}


@dataclass(frozen=True, slots=True)
class _Row:
    ref: str
    id: str
    cells: tuple[str, ...]

    @property
    def polynomial(self) -> bool:
        return len(self.cells) > 8 and self.cells[8].strip().lower() == "yes"


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of the table; ``unknown`` is the text of those that are not as they were known to be."""

    rows: tuple[_Row, ...] = ()
    unknown: tuple[str, ...] = ()


class OdeBase:
    """The repository over one session."""

    source: Final = "odebase"
    bulk_size: Final = 0

    def __init__(self, session: Session) -> None:
        self._session = session

    def catalogue(self, selection: Selection, known: Mapping[str, CatalogueEntry]) -> Catalogue:
        """All polynomial and rational systems, in ascending order of their ids.

        Raises
        ------
        SelectionError
            A query, or something that cannot be an id.
        """
        if selection.query is not None:
            raise SelectionError("usage", "ODEbase has no search; use --ids or --limit")
        for id in selection.ids:
            if not _ID.fullmatch(id):
                raise SelectionError("usage", f"{id!r} is not an id of ODEbase, such as BIOMD0000000028")
        rows: dict[str, _Row] = {}
        unknown: list[str] = []
        for params in _TABLES:
            table = self._table(params, known)
            rows.update((row.id, row) for row in table.rows)
            unknown += table.unknown
        entries = {row.id: _entry(row) for row in rows.values()}
        gaps = []
        if unknown:
            what = f"{len(unknown)} rows of the table of ODEbase are not as they are known, such as {unknown[0]!r}"
            gaps.append(f"{what}; their systems were not asked for")
        if not entries and not unknown:
            gaps.append("the table of ODEbase is empty")
        if selection.ids:
            named = (entries.get(id, CatalogueEntry(id)) for id in dict.fromkeys(selection.ids))
            return Catalogue(tuple(named)[: selection.limit], tuple(gaps))
        return Catalogue(selection.first(entries), tuple(gaps))

    def _table(self, params: Mapping[str, str], known: Mapping[str, CatalogueEntry]) -> _Rows:
        return settle(
            lambda: self._session.get("table/", params, read=_read_table),
            lambda table: bool(table.rows) and all(known.get(row.id) == _entry(row) for row in table.rows),
        )

    def bulk(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """Nothing: there is no such download."""
        return {}

    def fetch(
        self, entry: CatalogueEntry, known: Known | None, member: bytes | None, stored: Callable[[str], bytes | None]
    ) -> FetchedFile | Refused | Unchanged:
        """Bring one system: equations, parameter values and the two maps of names."""
        ref = entry.detail.get("ref")
        if ref is None:
            return Refused(entry.id, "not-listed", f"{entry.id} is not in the table of ODEbase", lasting=False)
        etags = _split_etags(known.etag if known else None)
        if etags and self._all_unchanged(ref, etags):
            return Unchanged(entry.id)
        texts: dict[str, str] = {}
        new_etags: dict[str, str] = {}
        try:
            for what in TEXTS:
                texts[what] = self._text(ref, what, new_etags)
        except NotFoundError as error:
            listed = any(row.id == entry.id for row in self._table(_TABLES[1], {}).rows)
            context = "though the table, read again, still lists it" if listed else "and the table no longer lists it"
            return Refused(entry.id, "gone", f"{error.message}, {context}", lasting=False)
        document = {"format": 1, "id": entry.id, "ref": ref, "polynomial": entry.detail.get("polynomial") == "yes"}
        data = json.dumps({**document, **texts}, indent=1, sort_keys=True, ensure_ascii=False).encode()
        held = known.data() if known else None
        return FetchedFile(
            id=entry.id,
            name=entry.name,
            revision=None,
            file=f"{ref}",
            suffix=".odebase.json",
            url=self._session.url(f"detail/{ref}"),
            data=data,
            etag=json.dumps(new_etags, sort_keys=True) if len(new_etags) == len(TEXTS) else None,
            licence=None,
            downloaded=held != data,
        )

    def _text(self, ref: str, what: str, etags: dict[str, str]) -> str:
        path = TEXTS[what].format(ref=ref)

        def read() -> ParsedResponse[str]:
            reading = self._session.get(path, read=lambda answer: _read_text(answer, what))
            if reading.etag:
                etags[what] = reading.etag
            return reading

        return settle(read)

    def _all_unchanged(self, ref: str, etags: Mapping[str, str]) -> bool:
        for what, path in TEXTS.items():
            reading = self._session.get(
                path.format(ref=ref), read=lambda answer: answer.body, etag=etags.get(what)
            )  # fmt: skip
            if reading.value is not None:
                return False
        return True


def _entry(row: _Row) -> CatalogueEntry:
    digest = hashlib.sha256("\x1f".join(row.cells).encode()).hexdigest()[:16]
    return CatalogueEntry(row.id, row.id, digest, {"ref": row.ref, "polynomial": "yes" if row.polynomial else "no"})


def _split_etags(text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # a manifest that somebody has edited
        return {}
    return value if isinstance(value, dict) and set(value) == set(TEXTS) else {}


class _Table(HTMLParser):
    """Rows of all tables of a page: the cells' texts, and the targets of links in the second cell."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[list[str], list[str]]] = []
        self.has_table = False
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.has_table = True
        elif tag == "tr":
            self.rows.append(([], []))
            self._open = False
        elif tag == "td" and self.rows:
            self.rows[-1][0].append("")
            self._open = True
        elif tag == "a" and self._open and len(self.rows[-1][0]) == 2:
            self.rows[-1][1].append(dict(attrs).get("href") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "tr"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.rows[-1][0][-1] += data


def _page_text(answer: Response) -> str:
    try:
        return answer.body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadResponseError("bad-answer", f"{answer.url}: the page is not UTF-8") from error


def _parse(parser: HTMLParser, answer: Response) -> None:
    try:
        parser.feed(_page_text(answer))
        parser.close()
    except AssertionError as error:  # what the library raises on some declarations
        raise BadResponseError("bad-answer", f"{answer.url}: the page is not HTML: {error}") from error


def _read_table(answer: Response) -> _Rows:
    parser = _Table()
    _parse(parser, answer)
    rows, unknown = [], []
    for raw, links in parser.rows:
        cells = tuple(cell.strip() for cell in raw)
        match = _DETAIL.search(links[0]) if links else None
        if match and _ID.fullmatch(cells[1]) and len(cells) > 8 and cells[8].lower() in ("yes", "no"):
            rows.append(_Row(match[1], cells[1], cells))
        elif cells:  # a row of headings has none
            unknown.append(" | ".join(cells)[:80])
    if not parser.has_table:
        raise BadResponseError("bad-answer", f"{answer.url}: the page holds no table")
    return _Rows(tuple(rows), tuple(unknown))


class _Text(HTMLParser):
    """The text of a page, without what stands in its head."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.preformatted: list[str] = []
        self._skip = self._pre = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skip += tag in ("script", "style", "title")
        self._pre += tag == "pre"
        if tag == "br":
            self.handle_data("\n")

    def handle_endtag(self, tag: str) -> None:
        self._skip -= tag in ("script", "style", "title")
        self._pre -= tag == "pre"

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.pieces.append(data)
            if self._pre:
                self.preformatted.append(data)


def _read_text(answer: Response, what: str) -> str:
    """The text of a page, if it looks like what was asked for."""
    text = _page_text(answer)
    if "<" in text and re.search(r"<(html|pre|body|div)\b", text, re.IGNORECASE):
        parser = _Text()
        _parse(parser, answer)
        text = "".join(parser.preformatted or parser.pieces)
    text = text.strip()
    if what == "odes":
        is_list = text.startswith("[") and text.endswith("]") and "Derivative(" in text
        if not is_list or text.count("(") != text.count(")"):
            raise BadResponseError("bad-answer", f"{answer.url}: the page holds no list of equations")
    elif not all(_ASSIGNMENT.match(line.strip()) for line in text.splitlines() if line.strip()):
        raise BadResponseError("bad-answer", f"{answer.url}: the page holds no list of assignments")
    return text
