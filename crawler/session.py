"""One HTTP session that is a polite guest and trusts nothing.

A rate limit and a number of requests at once; time-outs; retries with growing, jittered waits; Retry-After;
redirects only between known hosts. An answer counts when its reader accepts it: a page of HTML in place of JSON is
asked for again like a broken connection.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from typing import Final, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter

from crawler.errors import BadResponseError, GivenUpError, NotFoundError, SelectionError, ServiceError, StoppedError

__all__ = ["Session", "is_loopback", "RequestPolicy", "retry_after", "Response", "ParsedResponse"]

T = TypeVar("T")


# -- how to behave towards a host --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """How to behave towards a host.

    Attributes
    ----------
    rate : float
        Requests a second, over all threads; 0 for no limit.
    at_once : int
        Requests under way at the same time.
    timeout : float
        Seconds without a byte after which a request is given up.
    deadline : float
        Seconds after which a request is given up even if bytes still trickle in.
    tries : int
        How often one thing is asked for.
    first_wait, longest_wait : float
        Seconds before the second try, and the bound to which the wait doubles.
    contact : str or None
        Put into the User-Agent, so that the host can write to whoever runs this.
    connect_timeout : float
        Seconds to reach the host at all, if `timeout` is longer.
    longest_retry_after : float
        Seconds: a host that asks to wait longer is left alone; the next run may find it better.
    redirects : int
        One after the other; BioModels redirects once, to its new host.
    same_bodies : int
        How often a body that contradicts its own ETag has to come the same before it is believed.
    """

    rate: float = 1.0
    at_once: int = 2
    timeout: float = 30.0
    deadline: float = 900.0
    tries: int = 6
    first_wait: float = 0.5
    longest_wait: float = 60.0
    contact: str | None = None
    connect_timeout: float = 10.0
    longest_retry_after: float = 600.0
    redirects: int = 5
    same_bodies: int = 3

    def __post_init__(self) -> None:
        if self.rate < 0 or self.at_once < 1 or self.timeout <= 0 or self.tries < 1 or self.first_wait < 0:
            raise SelectionError("usage", "rate, requests at once, time-out, tries and waits must be positive")
        if self.contact is not None and not re.fullmatch(r"[\x21-\x7e]{1,200}", self.contact):
            raise SelectionError("usage", "a contact is an e-mail address or a URL, without spaces")

    def wait(self, attempt: int, asked: float | None = None) -> float:
        """Seconds before try number `attempt` + 1: doubling, jittered by half, at least what the host asked for."""
        grown = min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1))
        return max(asked or 0.0, grown * random.uniform(0.5, 1.5))

    @property
    def user_agent(self) -> str:
        """Name and version of the project, and the contact."""
        try:
            number = version("sbmlump")
        except PackageNotFoundError:  # run from a source tree
            number = "0"
        purpose = f"contact: {self.contact}" if self.contact else "SBML model reduction survey"
        return f"sbmlump-crawler/{number} ({purpose})"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a Retry-After header asks for: a number or a date; ``None`` without one."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


# -- answers -----------------------------------------------------------------------------------------


_DIGESTS: Final = {32: "md5", 40: "sha1", 64: "sha256"}


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers (lower case) and body of one answer.

    ``sure``: the body agrees with a digest that came with it; ``doubtful``: it contradicts what looks like one.
    """

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def etag(self) -> str | None:
        """The ETag, quotes included."""
        return self.headers.get("etag")

    @property
    def sure(self) -> bool:
        """Whether a strong ETag is the MD5, SHA-1 or SHA-256 of the body, as many servers make them."""
        return self._etag_fits() is True

    @property
    def doubtful(self) -> bool:
        """Whether a strong ETag has the form of such a digest and is another one."""
        return self._etag_fits() is False

    def _etag_fits(self) -> bool | None:
        # Spring writes "0" before the MD5; an odd number of digits is no digest of anything else
        match = re.fullmatch(r'"(?:0(?=[0-9a-f]{32}"))?([0-9a-fA-F]+)"', self.etag or "")
        algorithm = _DIGESTS.get(len(match[1])) if match else None
        if match is None or algorithm is None:
            return None
        return hashlib.new(algorithm, self.body, usedforsecurity=False).hexdigest() == match[1].lower()


@dataclass(frozen=True, slots=True)
class ParsedResponse(Generic[T]):
    """An answer as its reader understood it; ``value`` is ``None`` only when the thing has not changed (304)."""

    value: T | None
    sure: bool
    etag: str | None
    bytes: int


# -- the session -------------------------------------------------------------------------------------

# Not urllib3.Retry, which judges an answer by its status and cuts what Retry-After says: here the reader of the body
# has the last word, and a host that asks for a day is told to the user as that.
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class _AgainError(Exception):
    """One try failed; another one may not."""

    def __init__(self, code: str, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.wait = wait


class Session:
    """GET requests below one base URL.

    Parameters
    ----------
    base_url : str
    hosts : frozenset of str
        ``host[:port]`` to which a redirect may lead besides that of the base URL.
    policy : RequestPolicy
    stop : threading.Event, optional
        Ends all waiting when set.

    Raises
    ------
    SelectionError
        The base URL is none.
    """

    def __init__(
        self,
        base_url: str,
        hosts: frozenset[str] = frozenset(),
        policy: RequestPolicy | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise SelectionError("usage", f"{base_url!r} is not a URL of a web service; it begins with https://")
        self.base_url = base_url.rstrip("/")
        self.policy = policy or RequestPolicy()
        self._hosts = hosts | {parts.netloc}
        self._secure = parts.scheme == "https"
        self._slots = threading.BoundedSemaphore(self.policy.at_once)
        self._lock = threading.Lock()
        self._next_start = 0.0
        self._digests_expected = True
        self.stop = stop or threading.Event()
        self.requests = 0
        self.bytes = 0
        self._http = requests.Session()
        self._http.trust_env = not is_loopback(self.base_url)  # no proxy stands between us and ourselves
        # as many connections as requests at once: the server never sees more
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=self.policy.at_once, pool_block=True, max_retries=0)
        self._http.mount("https://", adapter)
        self._http.mount("http://", adapter)
        self._http.headers["User-Agent"] = self.policy.user_agent

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def url(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """Absolute URL of `path`; names may hold anything, they are quoted here."""
        query = "?" + urlencode(params, quote_via=quote) if params else ""
        return f"{self.base_url}/{quote(path)}{query}"

    def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        read: Callable[[Response], T],
        limit: int = 256 << 20,
        etag: str | None = None,
        accept: str = "*/*",
    ) -> ParsedResponse[T]:
        """Ask until `read` accepts an answer; it raises :class:`BadResponseError` for one that cannot be right.

        Parameters
        ----------
        path, params
            Below the base URL.
        read : callable
            Makes a value of an answer of status 200.
        limit : int
            Bytes at which a body is too large.
        etag : str, optional
            Ask only for what is newer.
        accept : str
            Kind of content asked for.

        Raises
        ------
        NotFoundError
            404 or 410, at once.
        ServiceError
            No acceptable answer after all tries, or a redirect to a host that is not allowed.
        StoppedError
            The crawl was told to stop.
        """
        url = self.url(path, params)
        headers = {"Accept": accept} | ({"If-None-Match": etag} if etag else {})
        doubts: list[bytes] = []
        problem = _AgainError("unreachable", "no try was made")
        for attempt in range(self.policy.tries):
            if attempt:
                self._pause(self.policy.wait(attempt, problem.wait))
            try:
                answer = self._ask(url, headers, limit)
                if answer.status == 304 and etag:
                    return ParsedResponse(None, True, etag, 0)
                value = self._accept(answer, read, doubts)
            except _AgainError as again:
                problem = again
                continue
            return ParsedResponse(value, answer.sure, answer.etag, len(answer.body))
        raise GivenUpError(problem.code, f"{url}: {problem} ({self.policy.tries} tries); run the same command later")

    # -- one try -------------------------------------------------------------------------------------

    def _accept(self, answer: Response, read: Callable[[Response], T], doubts: list[bytes]) -> T:
        """Read an answer. One that contradicts its own digest is believed only when it keeps coming the same."""
        try:
            value = read(answer)
        except BadResponseError as error:
            raise _AgainError(error.code, error.message) from error
        if answer.doubtful and self._digests_expected:
            digest = hashlib.sha256(answer.body).digest()
            doubts.append(digest)
            if doubts.count(digest) < self.policy.same_bodies:
                raise _AgainError("wrong-digest", "the body is not the one its ETag belongs to")
            self._digests_expected = False  # the ETags of this host are something else
        return value

    def _ask(self, url: str, headers: Mapping[str, str], limit: int) -> Response:
        self._slot()
        try:
            for _ in range(self.policy.redirects):
                self._admit()
                answer = self._once(url, headers, limit)
                if answer.status not in _REDIRECTS:
                    self._judge(answer)
                    return answer
                url = self._redirected(url, answer)
        except (requests.ConnectTimeout, requests.ReadTimeout) as error:
            # the server may still be at work on it, so our slot stays taken for as long again
            self._pause(min(self.policy.timeout, self.policy.longest_wait))
            raise _AgainError("timed-out", f"no answer within {self.policy.timeout:g} s") from error
        except requests.RequestException as error:
            raise _AgainError("unreachable", _connection_problem(error)) from error
        finally:
            self._slots.release()
        raise ServiceError("redirect-loop", f"{url}: redirected more than {self.policy.redirects} times")

    def _once(self, url: str, headers: Mapping[str, str], limit: int) -> Response:
        with self._lock:
            self.requests += 1
        end = time.monotonic() + self.policy.deadline
        timeout = (min(self.policy.connect_timeout, self.policy.timeout), self.policy.timeout)
        body = bytearray()
        options = {"timeout": timeout, "stream": True, "allow_redirects": False}
        with self._http.get(url, headers=dict(headers), **options) as response:  # type: ignore[arg-type]
            for chunk in response.iter_content(1 << 16):
                body += chunk
                if len(body) > limit:
                    raise ServiceError("too-large", f"{url}: more than {limit >> 20} MB; it was not kept")
                if time.monotonic() > end:
                    raise _AgainError("timed-out", f"not complete within {self.policy.deadline:g} s")
            received = {key.lower(): value for key, value in response.headers.items()}
            status = response.status_code
        length = received.get("content-length", "")
        if status == 200 and "content-encoding" not in received and length.isdigit() and int(length) != len(body):
            raise _AgainError("short-answer", f"{len(body)} bytes came where {length} were announced")
        with self._lock:
            self.bytes += len(body)
        return Response(status, url, received, bytes(body))

    def _judge(self, answer: Response) -> None:
        if answer.status in (200, 304):
            return
        if answer.status in (404, 410):
            raise NotFoundError("gone", f"{answer.url}: not there (HTTP {answer.status})")
        if answer.status not in _BUSY:
            raise ServiceError("refused", f"{answer.url}: the server refuses (HTTP {answer.status})")
        wait = retry_after(answer.headers)
        if wait is not None and wait > self.policy.longest_retry_after:
            raise GivenUpError("server-busy", f"{answer.url}: asked to wait {wait:.0f} s; run the same command later")
        if answer.status == 429 and wait:
            # the limit counts all our requests, so all of them wait
            with self._lock:
                self._next_start = max(self._next_start, time.monotonic() + wait)
        raise _AgainError("server-busy", f"the server is busy (HTTP {answer.status})", wait)

    def _redirected(self, url: str, answer: Response) -> str:
        target = urljoin(url, answer.headers.get("location", ""))
        parts = urlsplit(target)
        if parts.netloc not in self._hosts or (self._secure and parts.scheme != "https"):
            raise ServiceError(
                "redirect-not-allowed",
                f"{url}: redirected to {parts.scheme}://{parts.netloc}, which is not a known host; it was not followed",
            )
        # BioModels drops format=json when it redirects to its new host
        before, after = parse_qsl(urlsplit(url).query), parse_qsl(parts.query)
        missing = [(key, value) for key, value in before if key == "format" and key not in dict(after)]
        return urlunsplit(parts._replace(query=urlencode(after + missing, quote_via=quote)))

    # -- waiting -------------------------------------------------------------------------------------

    def _slot(self) -> None:
        while not self._slots.acquire(timeout=0.2):
            if self.stop.is_set():
                raise StoppedError("stopped", "stopped")

    def _admit(self) -> None:
        """Wait for our turn under the rate limit."""
        gap = 1.0 / self.policy.rate if self.policy.rate else 0.0
        while True:
            with self._lock:
                now = time.monotonic()
                if now >= self._next_start:
                    self._next_start = now + gap
                    break
                wait = self._next_start - now
            self._pause(wait)
        if self.stop.is_set():
            raise StoppedError("stopped", "stopped")

    def _pause(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise StoppedError("stopped", "stopped")


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connection_problem(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate of the server is not accepted (REQUESTS_CA_BUNDLE names another list)"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy of the environment does not answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke half-way"
    return f"no connection ({type(error).__name__})"
