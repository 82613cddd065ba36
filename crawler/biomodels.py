"""BioModels: https://www.biomodels.org, or a mirror of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crawler.content import Archive, ExpectedFile, digest_problem, is_archive
from crawler.errors import ArchiveError, BadResponseError, NotFoundError, SelectionError, ServiceError
from crawler.plan import Choice, FileCheck, choose
from crawler.repository import Catalogue, CatalogueEntry, FetchedFile, Known, Refused, Selection, Unchanged, settle
from crawler.session import ParsedResponse, Response, Session

__all__ = ["BASE_URL", "HOSTS", "BioModels"]

BASE_URL: Final = "https://www.biomodels.org"
HOSTS: Final = frozenset({"www.biomodels.org", "www.ebi.ac.uk"})
LICENCE: Final = "CC0-1.0"

_ID: Final = re.compile(r"(?:BIOMD|MODEL)\d{10}|BMID\d{12}")
_PAGE: Final = 100
_BULK: Final = 100
_MOST_PAGES: Final = 5000
_ROUNDS: Final = 9
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class _Page:
    matches: int
    listed: int
    entries: tuple[CatalogueEntry, ...]


@dataclass(frozen=True, slots=True)
class _Listing:
    """The record of a model: what there is to download."""

    name: str | None
    revision: str | None
    main: tuple[ExpectedFile, ...]


class BioModels:
    """The repository over one session."""

    source: Final = "biomodels"
    bulk_size: Final = _BULK

    def __init__(self, session: Session) -> None:
        self._session = session
        self._identifiers: frozenset[str] | None = None

    # -- catalogue -----------------------------------------------------------------------------------

    def catalogue(self, wish: Selection, known: Mapping[str, CatalogueEntry]) -> Catalogue:
        """Entries in ascending order of their ids; named ids are not looked up in the list.

        Raises
        ------
        WishError
            Something that cannot be an id of BioModels was asked for.
        """
        if wish.ids:
            named = dict.fromkeys(_bare_id(each) for each in wish.ids)
            return Catalogue(tuple(CatalogueEntry(id) for id in named)[: wish.limit])
        entries: dict[str, CatalogueEntry] = {}
        offset = 0
        for _ in range(_MOST_PAGES):
            page = self._page(wish.query or "*:*", offset, known)
            fresh = [entry for entry in page.entries if entry.id not in entries]
            entries.update((entry.id, entry) for entry in fresh)
            offset += page.listed
            if not fresh or offset >= page.matches or self._enough(entries, wish):
                break
        if wish.whole:
            for id in self._all_identifiers(frozenset(entries)):
                entries.setdefault(id, CatalogueEntry(id))
        chosen = [entries[id] for id in sorted(entries) if not wish.curated or id.startswith("BIOMD")]
        return Catalogue(tuple(chosen[: wish.limit]))

    @staticmethod
    def _enough(entries: Mapping[str, CatalogueEntry], wish: Selection) -> bool:
        # pages come in ascending order of ids, so what is first in them is first in all
        count = sum(1 for id in entries if not wish.curated or id.startswith("BIOMD"))
        return wish.limit is not None and count >= wish.limit

    def _page(self, query: str, offset: int, known: Mapping[str, CatalogueEntry]) -> _Page:
        params = {
            "query": query, "offset": str(offset), "numResults": str(_PAGE), "sort": "id-asc", "format": "json",
        }  # fmt: skip

        def read() -> ParsedResponse[_Page]:
            return self._session.get("search", params, read=_read_page, accept=_JSON)

        first = read()
        page = first.value
        assert page is not None
        # what the store remembers word for word needs no second reading
        if first.sure or (page.entries and all(known.get(entry.id) == entry for entry in page.entries)):
            return page
        readings = iter([first])
        return settle(lambda: next(readings, None) or read())

    def _all_identifiers(self, expected: frozenset[str] | None = None) -> frozenset[str]:
        """Every id there is; a service without this list has none."""

        def read() -> ParsedResponse[frozenset[str]]:
            return self._session.get("model/identifiers", {"format": "json"}, read=_read_identifiers, accept=_JSON)

        try:
            return settle(read, expected)
        except NotFoundError:
            return frozenset()

    def _still_listed(self, id: str) -> bool:
        """Whether the list, read again after a 404, has the model. It is read once a run."""
        if self._identifiers is None:
            self._identifiers = self._all_identifiers()
        return id in self._identifiers

    # -- many at once --------------------------------------------------------------------------------

    def bulk(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """Up to 100 files in one zip; members with a wrong CRC are left out, and so is a zip that is not there."""
        try:
            archive = self._session.get(
                "search/download", {"models": ",".join(ids)}, read=_read_bulk, limit=1 << 30
            ).value  # fmt: skip
        except ServiceError:
            return {}  # each is then asked for by itself, and what is wrong comes out there
        assert archive is not None
        found: dict[str, bytes] = {}
        for id in ids:
            if f"{id}.xml" not in archive.names:
                continue
            try:
                found[id] = archive.read(f"{id}.xml")
            except ArchiveError:
                continue  # this one member is damaged; it is asked for by itself
        return found

    # -- one model -----------------------------------------------------------------------------------

    def fetch(
        self, entry: CatalogueEntry, known: Known | None, member: bytes | None, stored: Callable[[str], bytes | None]
    ) -> FetchedFile | Refused | Unchanged:
        """Bring one model: its record, then its file from where it is cheapest, verified against the record."""
        try:
            first = self._listing(entry.id, known.etag if known else None)
        except NotFoundError as error:
            return self._missing_record(entry, error)
        if first.value is None:
            return Unchanged(entry.id)
        evidence = FileCheck(entry.id, member, known.data() if known else None, stored)
        evidence.listed(choose(first.value.main), first.sure)
        listing, etag = first.value, first.etag
        for _ in range(_ROUNDS):
            verdict = evidence.verdict()
            if verdict == "read-list":
                try:
                    again = self._listing(entry.id, None)
                except NotFoundError:
                    return Refused(entry.id, "gone", f"{entry.id} disappeared while it was fetched", lasting=False)
                assert again.value is not None
                listing, etag = again.value, again.etag
                evidence.listed(choose(listing.main), again.sure)
            elif verdict == "download":
                self._download(entry.id, evidence)
            elif isinstance(verdict, Refused):
                return verdict
            else:
                return self._found(entry, listing, etag, evidence, verdict)
        return Refused(entry.id, "unsettled", f"{entry.id}: {_ROUNDS} readings never agreed; run again", lasting=False)

    def _missing_record(self, entry: CatalogueEntry, error: NotFoundError) -> Refused:
        listed = self._still_listed(entry.id)
        try:
            self._listing(entry.id, None)
        except NotFoundError:
            told = "though the list, read again, has it" if listed else "and the list, read again, does not have it"
            return Refused(entry.id, "gone", f"{error.message}, {told}", lasting=False)
        return Refused(entry.id, "unsettled", f"{entry.id}: there again after a 404; run again", lasting=False)

    def _listing(self, id: str, etag: str | None) -> ParsedResponse[_Listing]:
        return self._session.get(
            id, {"format": "json"}, read=lambda answer: _read_record(answer, id), etag=etag, accept=_JSON
        )

    def _download(self, id: str, evidence: FileCheck) -> None:
        choice = evidence.choice
        assert choice is not None
        try:
            reading = self._session.get(
                f"model/download/{id}",
                {"filename": choice.promise.name},
                read=lambda answer: _read_file(answer, choice.promise),
            )
        except NotFoundError as error:
            evidence.not_there(error.message)
        else:
            assert reading.value is not None
            evidence.downloaded(reading.value, reading.sure)

    def _found(
        self, entry: CatalogueEntry, listing: _Listing, etag: str | None, evidence: FileCheck, verdict: Choice
    ) -> FetchedFile:
        assert evidence.accepted is not None
        return FetchedFile(
            id=entry.id,
            # the list of all models was read with more care than this one record
            name=entry.name or listing.name,
            revision=listing.revision,
            file=verdict.promise.name,
            suffix=".xml",
            url=self._session.url(f"model/download/{entry.id}", {"filename": verdict.promise.name}),
            data=evidence.accepted,
            etag=etag,
            licence=LICENCE,
            downloaded=evidence.fresh,
        )


# -- reading answers ---------------------------------------------------------------------------------


def _bare_id(text: str) -> str:
    id, dot, _ = text.strip().partition(".")
    if not _ID.fullmatch(id):
        raise SelectionError("usage", f"{text!r} is not an id of BioModels, such as BIOMD0000000012")
    if dot:
        raise SelectionError("usage", f"{text!r} names a revision, and the newest one is what is kept; ask for {id}")
    return id


def _json(answer: Response) -> dict[str, Any]:
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise BadResponseError("bad-answer", f"{answer.url}: the answer is not JSON") from error
    if not isinstance(value, dict):
        raise BadResponseError("bad-answer", f"{answer.url}: the answer is not a JSON object")
    return value


def _text(value: object, url: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise BadResponseError("bad-answer", f"{url}: text was expected where {type(value).__name__} came")


def _read_page(answer: Response) -> _Page:
    value = _json(answer)
    matches, models = value.get("matches"), value.get("models")
    if not isinstance(matches, int) or not isinstance(models, list) or not all(isinstance(m, dict) for m in models):
        raise BadResponseError("bad-answer", f"{answer.url}: no list of models in the answer")
    entries = [
        CatalogueEntry(model["id"], _text(model.get("name"), answer.url), _text(model.get("lastModified"), answer.url))
        for model in models
        if isinstance(model.get("id"), str) and _ID.fullmatch(model["id"])
    ]
    return _Page(matches, len(models), tuple(entries))


def _read_identifiers(answer: Response) -> frozenset[str]:
    models = _json(answer).get("models")
    if not isinstance(models, list):
        raise BadResponseError("bad-answer", f"{answer.url}: no list of ids in the answer")
    return frozenset(id for id in models if isinstance(id, str) and _ID.fullmatch(id))


def _read_bulk(answer: Response) -> Archive:
    if not is_archive(answer.body):
        raise BadResponseError("bad-answer", f"{answer.url}: the answer is not a zip file")
    try:
        return Archive(answer.body, "of a bulk download")
    except ArchiveError as error:
        if error.code == "unsafe-archive":
            raise ServiceError(error.code, error.message) from error
        raise BadResponseError(error.code, error.message) from error


def _read_file(answer: Response, promise: ExpectedFile) -> bytes:
    """The bytes; a page of HTML that is not what the list promises is the server's apology, not the file."""
    start = answer.body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<html", b"<!doctype html")) and digest_problem(answer.body, promise):
        raise BadResponseError("html-page", f"an HTML page came in place of {promise.name}")
    return answer.body


def _read_record(answer: Response, id: str) -> _Listing:
    value = _json(answer)
    files = value.get("files")
    if not isinstance(files, dict):
        raise BadResponseError("bad-answer", f"{answer.url}: the record of {id} lists no files")
    main = files.get("main")
    if not isinstance(main, list):
        raise BadResponseError("bad-answer", f"{answer.url}: the record of {id} lists no main files")
    return _Listing(
        _text(value.get("name"), answer.url), _revision(value), tuple(_promise(item, answer.url) for item in main)
    )


def _revision(value: Mapping[str, Any]) -> str | None:
    """The newest revision the record tells of."""
    history = value.get("history")
    revisions = history.get("revisions") if isinstance(history, dict) else None
    numbers = [
        item["version"]
        for item in (revisions if isinstance(revisions, list) else [])
        if isinstance(item, dict) and isinstance(item.get("version"), int)
    ]
    return str(max(numbers)) if numbers else None


def _promise(item: object, url: str) -> ExpectedFile:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise BadResponseError("bad-answer", f"{url}: a file without a name is listed")
    size = str(item.get("fileSize", ""))
    sums: dict[str, str] = {}
    for key, algorithm in ExpectedFile.algorithms().items():
        listed = item.get(key)
        if isinstance(listed, str) and listed:
            sums[algorithm] = listed.strip().lower()
    return ExpectedFile(item["name"], int(size) if size.isascii() and size.isdigit() else None, sums)
