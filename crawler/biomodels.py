"""BioModels: https://www.biomodels.org, or a mirror of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crawler.content import Archive, ExpectedFile, digest_problem, is_archive, is_html
from crawler.errors import ArchiveError, BadResponseError, NotFoundError, SelectionError, ServiceError
from crawler.fetch import Choice, FileCheck, choose
from crawler.repository import CatalogueEntry, FetchedFile, Known, Refused, Selection, Unchanged, settle
from crawler.session import ParsedResponse, Response, Session

__all__ = ["BASE_URL", "HOSTS", "BioModels", "BioModelsSettings"]

BASE_URL: Final = "https://www.biomodels.org"
HOSTS: Final = frozenset({"www.biomodels.org", "www.ebi.ac.uk"})
LICENCE: Final = "CC0-1.0"

_ID: Final = re.compile(r"(?:BIOMD|MODEL)\d{10}|BMID\d{12}")
_JSON: Final = "application/json"
_DIGESTS: Final = {"sha256sum": "sha256", "sha1sum": "sha1", "md5sum": "md5"}  # keys of records, and their algorithms


@dataclass(frozen=True, slots=True)
class BioModelsSettings:
    """How BioModels is asked.

    Attributes
    ----------
    page : int
        Entries of a page of the list; the service gives at most 100.
    bulk : int
        Entries of one zip; the service takes at most 100 ids.
    most_pages : int
        At which a list that never ends is given up: far more than there are.
    rounds : int
        Readings of a record and downloads of its file after which a model that never settles is left for another run.
        Two readings, two downloads and one more try after a 404 are five; the rest is for answers that come corrupted.
    """

    page: int = 100
    bulk: int = 100
    most_pages: int = 5000
    rounds: int = 9


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

    def __init__(self, session: Session, settings: BioModelsSettings = BioModelsSettings()) -> None:
        self._session = session
        self._settings = settings
        self.bulk_size: Final = settings.bulk
        self._identifiers: frozenset[str] | None = None

    # -- catalogue -----------------------------------------------------------------------------------

    def catalogue(self, selection: Selection, known: Mapping[str, CatalogueEntry]) -> tuple[CatalogueEntry, ...]:
        """Entries in ascending order of their ids; named ids are not looked up in the list.

        Raises
        ------
        SelectionError
            Something that cannot be an id of BioModels was asked for.
        """
        if selection.ids:
            named = dict.fromkeys(_bare_id(each) for each in selection.ids)
            return tuple(CatalogueEntry(id) for id in named)[: selection.limit]
        entries: dict[str, CatalogueEntry] = {}
        offset = 0
        for _ in range(self._settings.most_pages):
            page = self._page(selection.query or "*:*", offset, known)
            fresh = [entry for entry in page.entries if entry.id not in entries]
            entries.update((entry.id, entry) for entry in fresh)
            offset += page.listed
            # pages come in ascending order of ids, so what is first in them is first in all
            enough = selection.limit is not None and sum(map(selection.takes, entries)) >= selection.limit
            if not fresh or offset >= page.matches or enough:
                break
        if selection.whole:
            for id in self._all_identifiers(frozenset(entries)):
                entries.setdefault(id, CatalogueEntry(id))
        return selection.first(entries)

    def _page(self, query: str, offset: int, known: Mapping[str, CatalogueEntry]) -> _Page:
        params = {
            "query": query, "offset": str(offset), "numResults": str(self._settings.page), "sort": "id-asc",
            "format": "json",
        }  # fmt: skip
        return settle(
            lambda: self._session.get("search", params, read=_read_page, accept=_JSON),
            # what the store remembers word for word needs no second reading
            lambda page: bool(page.entries) and all(known.get(entry.id) == entry for entry in page.entries),
        )

    def _all_identifiers(self, expected: frozenset[str] | None = None) -> frozenset[str]:
        """Every id there is; a service without this list has none."""
        try:
            return settle(
                lambda: self._session.get(
                    "model/identifiers", {"format": "json"}, read=_read_identifiers, accept=_JSON
                ),
                lambda ids: ids == expected,
            )
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
        files: dict[str, bytes] = {}
        for id in ids:
            if f"{id}.xml" not in archive.names:
                continue
            try:
                files[id] = archive.read(f"{id}.xml")
            except ArchiveError:
                continue  # this one member is damaged; it is asked for by itself
        return files

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
        check = FileCheck(entry.id, member, known.data() if known else None, stored)
        check.listed(choose(first.value.main), first.sure)
        listing, etag = first.value, first.etag
        for _ in range(self._settings.rounds):
            verdict = check.verdict()
            if verdict == "read-list":
                try:
                    again = self._listing(entry.id, None)
                except NotFoundError:
                    return Refused(entry.id, "gone", f"{entry.id} disappeared while it was fetched", lasting=False)
                assert again.value is not None
                listing, etag = again.value, again.etag
                check.listed(choose(listing.main), again.sure)
            elif verdict == "download":
                self._download(entry.id, check)
            elif isinstance(verdict, Refused):
                return verdict
            else:
                return self._found(entry, listing, etag, check, verdict)
        return Refused(
            entry.id,
            "unsettled",
            f"{entry.id}: {self._settings.rounds} readings never agreed; run again",
            lasting=False,
        )

    def _missing_record(self, entry: CatalogueEntry, error: NotFoundError) -> Refused:
        listed = self._still_listed(entry.id)
        try:
            self._listing(entry.id, None)
        except NotFoundError:
            context = "though the list, read again, has it" if listed else "and the list, read again, does not have it"
            return Refused(entry.id, "gone", f"{error.message}, {context}", lasting=False)
        return Refused(entry.id, "unsettled", f"{entry.id}: there again after a 404; run again", lasting=False)

    def _listing(self, id: str, etag: str | None) -> ParsedResponse[_Listing]:
        return self._session.get(
            id, {"format": "json"}, read=lambda answer: _read_record(answer, id), etag=etag, accept=_JSON
        )

    def _download(self, id: str, check: FileCheck) -> None:
        choice = check.choice
        assert choice is not None
        try:
            reading = self._session.get(
                f"model/download/{id}",
                {"filename": choice.file.name},
                read=lambda answer: _read_file(answer, choice.file),
            )
        except NotFoundError as error:
            check.not_there(error.message)
        else:
            assert reading.value is not None
            check.downloaded(reading.value, reading.sure)

    def _found(
        self, entry: CatalogueEntry, listing: _Listing, etag: str | None, check: FileCheck, verdict: Choice
    ) -> FetchedFile:
        assert check.accepted is not None
        return FetchedFile(
            id=entry.id,
            # the list of all models was read with more care than this one record
            name=entry.name or listing.name,
            revision=listing.revision,
            file=verdict.file.name,
            suffix=".xml",
            url=self._session.url(f"model/download/{entry.id}", {"filename": verdict.file.name}),
            data=check.accepted,
            etag=etag,
            licence=LICENCE,
            downloaded=check.fresh,
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


def _read_file(answer: Response, expected: ExpectedFile) -> bytes:
    """The bytes; a page of HTML that is not what the list promises is the server's apology, not the file."""
    if is_html(answer.body) and digest_problem(answer.body, expected):
        raise BadResponseError("html-page", f"an HTML page came in place of {expected.name}")
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
        _text(value.get("name"), answer.url), _revision(value), tuple(_expected_file(item, answer.url) for item in main)
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


def _expected_file(item: object, url: str) -> ExpectedFile:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise BadResponseError("bad-answer", f"{url}: a file without a name is listed")
    size = str(item.get("fileSize", ""))
    sums: dict[str, str] = {}
    for key, algorithm in _DIGESTS.items():
        listed = item.get(key)
        if isinstance(listed, str) and listed:
            sums[algorithm] = listed.strip().lower()
    return ExpectedFile(item["name"], int(size) if size.isascii() and size.isdigit() else None, sums)
