"""One model, by its id at BioModels or by its address: for programs that read a model rather than collect them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from crawler import biomodels
from crawler.content import SBML_SUFFIXES, is_html, sha256
from crawler.errors import BadResponseError, GivenUpError, NotFoundError, SelectionError, store_error
from crawler.fetch import crawl
from crawler.repository import Selection
from crawler.session import RequestPolicy, Response, Session, hosts_if_asked, is_loopback
from crawler.store import Record, Store, is_store, open_store, opened_file

__all__ = ["SingleFile", "SingleSettings", "fetch_model", "read_url", "stored_model"]


@dataclass(frozen=True, slots=True)
class SingleFile:
    """A file as it came: bytes, name, and the folder it lies in (``None``: nowhere)."""

    data: bytes
    name: str
    folder: Path | None


@dataclass(frozen=True, slots=True)
class SingleSettings:
    """How one model is fetched while somebody waits for it.

    Attributes
    ----------
    policy : RequestPolicy
        Fewer tries than of a crawl: who waits at a terminal can give the command again.
    wait : float
        Seconds for another crawl to end that writes to the same store.
    """

    policy: RequestPolicy = field(default_factory=lambda: RequestPolicy(tries=3, deadline=300.0))
    wait: float = 60.0


def stored_model(store: Path, id: str) -> SingleFile | None:
    """The model of an id in a store, or in a plain folder that holds it as ``ID.xml``; ``None`` if it is not there.

    Bytes that are not those that were fetched are not taken.

    Raises
    ------
    StoreError
        The store is from a newer version, or cannot be read.
    """
    if not is_store(store):
        try:
            path = next(path for suffix in SBML_SUFFIXES if (path := store / f"{id}{suffix}").is_file())
            with opened_file(path) as file:
                return SingleFile(file.read(), path.name, path.parent)
        except StopIteration:
            return None
        except OSError as error:
            raise store_error(store, error) from error
    opened = open_store(store)
    records = [record for record in opened.records.values() if record.id == id and record.sha256]
    for record in sorted(records, key=lambda each: each.source != "biomodels"):
        data = _bytes_of(opened, record)
        if data is not None and record.path is not None and record.path.endswith(SBML_SUFFIXES):
            path = store / record.path
            return SingleFile(data, path.name, path.parent)
    return None


def _bytes_of(store: Store, record: Record) -> bytes | None:
    data = store.bytes_of(record.sha256)
    if data is None and record.path is not None:  # the object is gone, the file itself may be there
        try:
            data = (store.path / record.path).read_bytes()
        except OSError:
            return None
    return data if data is not None and sha256(data) == record.sha256 else None


def fetch_model(
    store: Path, id: str, base_url: str | None = None, settings: SingleSettings | None = None
) -> SingleFile:
    """Bring a model of BioModels into a store, verified as in a crawl.

    Raises
    ------
    NotFoundError
        There is no such model, or it is no SBML.
    ServiceError
        It did not come; another try may bring it.
    StoreError, SelectionError
    """
    settings = settings or SingleSettings()
    url = base_url or biomodels.BASE_URL
    session = _session(url, settings, hosts_if_asked(url, biomodels.HOSTS))
    try:
        with Store.writable(store, settings.wait) as opened:
            summary = crawl(biomodels.BioModels(session), session, opened, Selection(ids=(id,)))
    finally:
        session.close()
    found = stored_model(store, id)
    if found is None:
        miss = summary.misses[0]
        kind = GivenUpError if miss.again else NotFoundError
        raise kind(miss.code, miss.message)
    return found


def read_url(url: str, limit: int, settings: SingleSettings | None = None) -> SingleFile:
    """The file at an https address; redirects lead to public hosts only.

    Parameters
    ----------
    url : str
        Also ``http://`` on this machine, where nobody listens in.
    limit : int
        Bytes at which it is too large.
    settings : SingleSettings, optional

    Raises
    ------
    SelectionError
        It is not such an address.
    ServiceError
        It did not come.
    """
    settings = settings or SingleSettings()
    address = url.partition("#")[0]
    session = _session(address, settings, frozenset())
    if urlsplit(address).scheme != "https" and not is_loopback(address):
        raise SelectionError(
            "usage", f"{url} is not read: anybody on the way can change it; give an address with https://"
        )
    try:
        reading = session.get_url(address, read=_read_file, limit=limit, proof=lambda _: True)
    finally:
        session.close()
    assert reading.value is not None
    name = unquote(PurePosixPath(urlsplit(address).path).name)
    return SingleFile(reading.value, name or urlsplit(address).netloc, None)


def _session(url: str, settings: SingleSettings, hosts: frozenset[str]) -> Session:
    rate = 0.0 if is_loopback(url) else settings.policy.rate
    return Session(url, hosts, replace(settings.policy, rate=rate))


def _read_file(answer: Response) -> bytes:
    if is_html(answer.body):
        raise BadResponseError("html-page", f"{answer.url}: a page of HTML, not a model")
    return answer.body
