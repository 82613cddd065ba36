"""BioModels: https://www.biomodels.org, or a mirror of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from crawler.content import (
    SBML_SUFFIXES,
    Archive,
    ContentProblem,
    ExpectedFile,
    digest_problem,
    is_archive,
    is_page,
    master_sbml,
    parsed_whole_number,
    plain_text,
)
from crawler.errors import ArchiveError, BadResponseError, NotFoundError, SelectionError, ServiceError
from crawler.fetch import Choice, FileCheck, choose
from crawler.repository import Catalogue, CatalogueEntry, FetchedFile, Known, Refused, Selection, Unchanged, settle
from crawler.session import ParsedResponse, Response, Session

__all__ = ["BASE_URL", "HOSTS", "BioModels", "BioModelsSettings"]

BASE_URL: Final = "https://www.biomodels.org"
HOSTS: Final = frozenset({"www.biomodels.org", "biomodels.org", "www.ebi.ac.uk", "ftp.ebi.ac.uk"})
LICENCE: Final = "CC0-1.0"

_ID: Final = re.compile(r"((?:BIOMD|MODEL)[0-9]{10}|BMID[0-9]{12})(\.[0-9]{1,9})?")  # and perhaps a revision
_MEMBERS: Final = (*SBML_SUFFIXES, ".omex")  # endings of a model in a bulk zip
_JSON: Final = "application/json"
_DIGESTS: Final = {"sha256sum": "sha256", "sha1sum": "sha1", "md5sum": "md5"}  # keys of records, and their algorithms
_DIGITS: Final = {"sha256": 64, "sha1": 40, "md5": 32}
_HEX: Final = re.compile("[0-9a-f]*")


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
        For each main file, readings of a record and downloads of the file after which a model that never settles is
        left for another run. Two readings, two downloads and one more try after a 404 are five; the rest is for
        answers that come corrupted.
    too_large : bytes
        Body with which the service answers for a file above its limit.
    bulk_bytes : int
        At which a zip is given up.
    """

    page: int = 100
    bulk: int = 100
    most_pages: int = 5000
    rounds: int = 9
    too_large: bytes = b"BIG_FILE"
    bulk_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of the search; ``unknown``: ids of a form that no model is known to have."""

    matches: int
    listed: int
    entries: tuple[CatalogueEntry, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Identifiers:
    """The list of all ids; ``unknown``: those of a form that no model is known to have."""

    ids: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Listing:
    """The record of a model: what there is to download."""

    name: str | None
    revision: str | None
    main: tuple[ExpectedFile, ...]
    licence: str | None = None


@dataclass(slots=True)
class _Listed:
    """What the lists have brought so far; ``matches``: how many models they tell of."""

    entries: dict[str, CatalogueEntry] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    matches: int = 0
    enough: bool = False


class BioModels:
    """The repository over one session."""

    source: Final = "biomodels"

    def __init__(self, session: Session, settings: BioModelsSettings = BioModelsSettings()) -> None:
        self._session = session
        self._settings = settings
        self.bulk_size: Final = settings.bulk
        self._identifiers: frozenset[str] | None = None

    # -- catalogue -----------------------------------------------------------------------------------

    def catalogue(self, selection: Selection, known: Mapping[str, CatalogueEntry]) -> Catalogue:
        """Entries in ascending order of their ids; named ids are not looked up in the list.

        Raises
        ------
        SelectionError
            Something that cannot be an id of BioModels was asked for.
        """
        if selection.ids:
            named = dict.fromkeys(_bare_id(each) for each in selection.ids)
            return Catalogue(tuple(CatalogueEntry(id) for id in named)[: selection.limit])
        listed = _Listed()
        self._read_pages(selection, known, listed)
        if selection.whole:
            self._read_identifiers(listed)
        if listed.unknown:
            some = ", ".join(map(repr, list(listed.unknown)[:3]))
            listed.gaps.append(f"{len(listed.unknown)} listed ids have a form that is not known, such as {some}")
        if len(listed.entries) + len(listed.unknown) < listed.matches and not listed.enough and not listed.gaps:
            listed.gaps.append(
                f"the search tells of {listed.matches} models and lists {len(listed.entries)}; "
                "run the same command later"
            )
        return Catalogue(selection.first(listed.entries), tuple(listed.gaps))

    def _read_pages(self, selection: Selection, known: Mapping[str, CatalogueEntry], listed: _Listed) -> None:
        """All pages of the search. One that ends early, after a full one, is no answer: it is asked for again."""
        query = selection.query or "*:*"
        offset = size = 0
        for _ in range(self._settings.most_pages):
            least = min(size, listed.matches - offset) if offset else 1
            try:
                page = self._page(query, offset, known, least)
            except (ServiceError, BadResponseError) as error:
                if offset == 0 and error.code != "short-page":
                    raise
                if offset or selection.query is None:
                    listed.gaps.append(f"the list could not be read to its end: {error.message}")
                page = self._what_there_is(query, offset, known)
            fresh = [entry for entry in page.entries if entry.id not in listed.entries]
            listed.entries.update((entry.id, entry) for entry in fresh)
            listed.unknown.update(dict.fromkeys(page.unknown))
            listed.matches = max(listed.matches, page.matches)
            size = size or page.listed
            offset += page.listed
            # pages come in ascending order of ids, so what is first in them is first in all
            takes = sum(map(selection.takes, listed.entries))
            listed.enough = selection.limit is not None and takes >= selection.limit
            nothing_new = not fresh and not page.unknown
            if nothing_new or listed.gaps or offset >= listed.matches or listed.enough:
                return

    def _page(self, query: str, offset: int, known: Mapping[str, CatalogueEntry], least: int) -> _Page:
        params = {
            "query": query, "offset": str(offset), "numResults": str(self._settings.page), "sort": "id-asc",
            "format": "json",
        }  # fmt: skip
        return settle(
            lambda: self._session.get("search", params, read=lambda got: _read_page(got, least), accept=_JSON),
            # what the store remembers word for word needs no second reading
            lambda page: bool(page.entries) and all(known.get(entry.id) == entry for entry in page.entries),
        )

    def _what_there_is(self, query: str, offset: int, known: Mapping[str, CatalogueEntry]) -> _Page:
        """A page as it comes, however short."""
        try:
            return self._page(query, offset, known, 0)
        except (ServiceError, BadResponseError):
            return _Page(0, 0, ())

    def _read_identifiers(self, listed: _Listed) -> None:
        """What the search has not listed and the list of ids has."""
        try:
            found = self._all_identifiers(frozenset(listed.entries))
        except (ServiceError, BadResponseError) as error:
            if error.code != "refused":  # a service without this list may say so by 403
                listed.gaps.append(f"the list of ids could not be read: {error.message}")
            return
        for id in found.ids:
            listed.entries.setdefault(id, CatalogueEntry(id))
        listed.unknown.update(dict.fromkeys(found.unknown))

    def _all_identifiers(self, expected: frozenset[str] = frozenset()) -> _Identifiers:
        """Every id there is; a service without this list has none."""
        try:
            return settle(
                lambda: self._session.get(
                    "model/identifiers",
                    {"format": "json"},
                    read=lambda got: _read_identifiers(got, least=1 if expected else 0),
                    accept=_JSON,
                ),
                lambda found: found.ids == expected,
            )
        except NotFoundError:
            return _Identifiers()

    def _still_listed(self, id: str) -> bool:
        """Whether the list, read again after a 404, has the model. It is read once a run."""
        if self._identifiers is None:
            self._identifiers = self._all_identifiers().ids
        return id in self._identifiers

    # -- many at once --------------------------------------------------------------------------------

    def bulk(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """Up to 100 files in one zip; members with a wrong CRC are left out, and so is a zip that is not there."""
        try:
            archive = self._session.get(
                "search/download", {"models": ",".join(ids)}, read=_read_bulk, limit=self._settings.bulk_bytes
            ).value  # fmt: skip
        except ServiceError:
            return {}  # each is then asked for by itself, and what is wrong comes out there
        assert archive is not None
        files: dict[str, bytes] = {}
        names = set(archive.names)
        for id in ids:
            name = next((f"{id}{suffix}" for suffix in _MEMBERS if f"{id}{suffix}" in names), None)
            if name is None:
                continue
            try:
                files[id] = archive.read(name)
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
        for _ in range(self._settings.rounds * max(1, len(check.choices))):
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
        expected = choice.file
        try:
            reading = self._session.get(
                f"model/download/{id}",
                {"filename": expected.name},
                read=lambda answer: self._read_file(answer, expected),
                proof=_fits_digest(expected),
            )
        except NotFoundError as error:
            check.not_there(error.message)
            return
        assert reading.value is not None
        unlike = not expected.promised or digest_problem(reading.value, expected)
        if reading.value == self._settings.too_large and unlike:
            check.downloaded(self._large_file(id, choice), sure=True)
        else:
            check.downloaded(reading.value, reading.sure)

    def _read_file(self, answer: Response, expected: ExpectedFile) -> bytes:
        """The bytes; a page that is not what the list promises is the server's apology, not the file."""
        unlike = not expected.promised or digest_problem(answer.body, expected)
        if unlike and is_page(answer.body) and answer.body != self._settings.too_large:
            raise BadResponseError("busy-page", f"a page or a message came in place of {expected.name}")
        return answer.body

    def _large_file(self, id: str, choice: Choice) -> bytes:
        """A file above the limit of single downloads, from the bulk zip or the archive, both with a CRC.

        Raises
        ------
        ServiceError
            Neither has it (code ``big-file``).
        """
        member = self.bulk([id]).get(id)
        if member is not None and _is_it(member, choice):
            return member
        for data in self._in_archive(id, choice):
            if _is_it(data, choice):
                return data
        raise ServiceError(
            "big-file",
            f"{id}: the server does not send {choice.file.name} because it is large, and neither the bulk download nor "
            "the archive of the model has it; run the same command later",
        )

    def _in_archive(self, id: str, choice: Choice) -> list[bytes]:
        """What the COMBINE archive of a model has in place of a file: itself, the file of that name, its master."""
        try:
            reading = self._session.get(f"model/download/{id}", read=_read_archive, limit=self._settings.bulk_bytes)
        except ServiceError:
            return []
        assert reading.value is not None
        data, archive = reading.value
        found = [data] if choice.archive else []
        try:
            if choice.file.name in archive.names:
                found.append(archive.read(choice.file.name))
            master = master_sbml(archive)
        except ArchiveError:
            return found
        if not choice.archive and not isinstance(master, ContentProblem):
            found.append(master[1])
        return found

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
            licence=listing.licence or LICENCE,
            downloaded=check.fresh,
        )


# -- reading answers ---------------------------------------------------------------------------------


def _bare_id(text: str) -> str:
    match = _ID.fullmatch(text.strip())
    if match is None:
        raise SelectionError("usage", f"{text!r} is not an id of BioModels, such as BIOMD0000000012")
    if match[2]:
        raise SelectionError(
            "usage", f"{text!r} names a revision, and the newest one is what is kept; ask for {match[1]}"
        )
    return match[1]


def _sorted_ids(ids: Iterable[object]) -> tuple[list[str | None], tuple[str, ...]]:
    """Ids without their revisions, ``None`` for each of an unknown form, and those."""
    matches = [(each, _ID.fullmatch(each) if isinstance(each, str) else None) for each in ids]
    unknown = tuple(plain_text(str(each))[:80] for each, match in matches if match is None)
    return [match[1] if match else None for _, match in matches], unknown


def _number(digits: str) -> int | str:
    number = parsed_whole_number(digits.removeprefix("-"))
    return digits if number is None else -number if digits.startswith("-") else number


def _json(answer: Response) -> dict[str, Any]:
    try:
        value = json.loads(answer.body, parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise BadResponseError("bad-answer", f"{answer.url}: the answer is not JSON") from error
    if not isinstance(value, dict):
        raise BadResponseError("bad-answer", f"{answer.url}: the answer is not a JSON object")
    return value


def _text(value: object, url: str) -> str | None:
    if value is None or isinstance(value, str):
        return value if value is None else plain_text(value)
    raise BadResponseError("bad-answer", f"{url}: text was expected where {type(value).__name__} came")


def _read_page(answer: Response, least: int) -> _Page:
    value = _json(answer)
    matches, models = value.get("matches"), value.get("models")
    if not isinstance(matches, int) or not isinstance(models, list) or not all(isinstance(m, dict) for m in models):
        raise BadResponseError("bad-answer", f"{answer.url}: no list of models in the answer")
    if len(models) < least:
        raise BadResponseError("short-page", f"the page lists {len(models)} models where {least} or more are expected")
    ids, unknown = _sorted_ids(model.get("id") for model in models)
    entries = [
        CatalogueEntry(id, _text(model.get("name"), answer.url), _text(model.get("lastModified"), answer.url))
        for id, model in zip(ids, models, strict=True)
        if id is not None
    ]
    return _Page(matches, len(models), tuple(entries), unknown)


def _read_identifiers(answer: Response, least: int) -> _Identifiers:
    value = _json(answer)
    models, hits = value.get("models"), value.get("hits")
    if not isinstance(models, list):
        raise BadResponseError("bad-answer", f"{answer.url}: no list of ids in the answer")
    least = max(least, hits if isinstance(hits, int) else 0)
    if len(models) < least:
        raise BadResponseError("short-page", f"the list has {len(models)} ids where {least} or more are expected")
    ids, unknown = _sorted_ids(models)
    return _Identifiers(frozenset(id for id in ids if id is not None), unknown)


def _read_bulk(answer: Response) -> Archive:
    return _read_archive(answer, "of a bulk download")[1]


def _read_archive(answer: Response, name: str = "of a model") -> tuple[bytes, Archive]:
    if not is_archive(answer.body):
        raise BadResponseError("bad-answer", f"{answer.url}: the answer is not a zip file")
    try:
        return answer.body, Archive(answer.body, name)
    except ArchiveError as error:
        if error.code == "unsafe-archive":
            raise ServiceError(error.code, error.message) from error
        raise BadResponseError(error.code, error.message) from error


def _fits_digest(expected: ExpectedFile) -> Callable[[bytes], bool] | None:
    """What proves a file of another host; ``None`` where the record lists no checksum."""
    return (lambda data: digest_problem(data, expected) is None) if expected.sums else None


def _is_it(data: bytes, choice: Choice) -> bool:
    return is_archive(data) == choice.archive and digest_problem(data, choice.file) is None


def _read_record(answer: Response, id: str) -> _Listing:
    value = _json(answer)
    files = value.get("files")
    if not isinstance(files, dict):
        raise BadResponseError("bad-answer", f"{answer.url}: the record of {id} lists no files")
    main = files.get("main")
    if not isinstance(main, list):
        raise BadResponseError("bad-answer", f"{answer.url}: the record of {id} lists no main files")
    return _Listing(
        _text(value.get("name"), answer.url),
        _revision(value),
        tuple(_expected_file(item, answer.url) for item in main),
        _licence(value),
    )


def _licence(value: Mapping[str, Any]) -> str | None:
    """The licence a record states, in any of the ways in which one may be written down."""
    stated = value.get("licence") or value.get("license")
    if isinstance(stated, dict):
        stated = next((stated[key] for key in ("identifier", "id", "name", "url") if stated.get(key)), None)
    return plain_text(stated.strip()) or None if isinstance(stated, str) else None


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
    sums: dict[str, str] = {}
    for key, algorithm in _DIGESTS.items():
        listed = str(item.get(key, "")).strip().lower()
        if len(listed) == _DIGITS[algorithm] and _HEX.fullmatch(listed):  # anything else, such as "N/A", is no promise
            sums[algorithm] = listed
    return ExpectedFile(item["name"], parsed_whole_number(item.get("fileSize")), sums)
