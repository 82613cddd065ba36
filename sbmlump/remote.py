"""Models that lie elsewhere: by their id at BioModels, from the user's store or fetched once, or by their address.

The only place below the command line that knows :mod:`crawler`, and it loads it only when it is asked for a model.
"""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from sbmlump.errors import InputError, Reason, UsageError

if TYPE_CHECKING:
    from crawler.single import SingleFile

__all__ = [
    "BASE_URL_VARIABLE",
    "STORE",
    "STORE_VARIABLE",
    "NotFetchedError",
    "RemoteFile",
    "is_remote",
    "read_remote",
    "store_folder",
]

STORE_VARIABLE: Final = "SBMLUMP_STORE"
"""Environment variable that names the store in place of the user's cache."""
BASE_URL_VARIABLE: Final = "SBMLUMP_BIOMODELS"
"""Environment variable that names a mirror of BioModels."""

STORE: Final[ContextVar[Path | None]] = ContextVar("STORE", default=None)
"""The store that the command line names."""

_ACCESSION: Final = re.compile(r"(?:biomodels(?:\.db)?:)?((?:BIOMD|MODEL)[0-9]{10})(\.[0-9]+)?")
_URL: Final = re.compile(r"(https?):/{1,2}(?=[^/])", re.IGNORECASE)  # a path of pathlib has lost a slash


class NotFetchedError(InputError):
    """A model that lies elsewhere did not come this time (exit code 4: another try may bring it)."""

    exit_code: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """Bytes of a file, its name, the folder it lies in (``None``: nowhere), and the member of it that is meant."""

    data: bytes
    name: str
    folder: Path | None
    member: str | None = None


def is_remote(text: str) -> bool:
    """Whether a model that is named so lies elsewhere, unless there is a file of that name."""
    return bool(_URL.match(text) or (_ACCESSION.fullmatch(text) and not Path(text).exists()))


def store_folder() -> Path:
    """The store of models that are named by their id: of ``--store``, of the environment, or the user's cache."""
    named = STORE.get() or os.environ.get(STORE_VARIABLE)
    if named:
        return Path(named)
    import platformdirs

    return platformdirs.user_cache_path("sbmlump") / "models"


def read_remote(text: str, limit: int) -> RemoteFile:
    """The file of an id of BioModels, or of an address.

    Parameters
    ----------
    text : str
        ``BIOMD0000000012``, ``biomodels:MODEL…``, ``https://…``, also with ``#member`` of an archive.
    limit : int
        Bytes at which it is too large.

    Raises
    ------
    UsageError
        Code ``bad-address``; those of stores (``not-a-store``, ``read-only`` …).
    InputError
        ``no-such-file``, and codes of models that are not one.
    NotFetchedError
        ``not-fetched``: it is not in the store, and it did not come; ``store-busy``, ``disk-full``.
    """
    accession = _ACCESSION.fullmatch(text)
    if accession is None:
        return _at_address(_URL.sub(lambda match: f"{match[1].lower()}://", text, count=1), limit)
    if accession[2]:
        message = f"{text} names a revision, and the newest one is what is kept; ask for {accession[1]}"
        raise UsageError(Reason("bad-address", message))
    return _by_accession(accession[1])


def _by_accession(id: str) -> RemoteFile:
    from crawler.errors import CrawlError, NotFoundError, ServiceError
    from crawler.single import fetch_model, stored_model

    store = store_folder()
    try:
        found = stored_model(store, id) or fetch_model(store, id, os.environ.get(BASE_URL_VARIABLE))
    except NotFoundError as error:
        message = f"{id} is not in the store {store}, and BioModels has no model of this id: {error.message}"
        raise InputError(Reason("no-such-file", message)) from error
    except ServiceError as error:
        message = f"{id} is not in the store {store}, and it did not come from BioModels: {error.message}"
        raise NotFetchedError(Reason("not-fetched", message)) from error
    except CrawlError as error:  # of the store, or of the address of a mirror
        kind = NotFetchedError if error.exit_code == NotFetchedError.exit_code else UsageError
        raise kind(Reason(error.code, error.message)) from error
    return RemoteFile(found.data, found.name, found.folder)


def _at_address(url: str, limit: int) -> RemoteFile:
    from crawler.errors import NotFoundError, SelectionError, ServiceError

    address, _, member = url.partition("#")
    try:
        found = _read_once(address, limit)
    except SelectionError as error:
        raise UsageError(Reason("bad-address", error.message)) from error
    except NotFoundError as error:
        raise InputError(Reason("no-such-file", error.message)) from error
    except ServiceError as error:
        raise NotFetchedError(Reason("not-fetched", error.message)) from error
    return RemoteFile(found.data, found.name, None, member or None)


@lru_cache(maxsize=2)
def _read_once(address: str, limit: int) -> SingleFile:
    """A command may need a model twice, such as the original of a reduced one."""
    from crawler.single import read_url

    return read_url(address, limit)
