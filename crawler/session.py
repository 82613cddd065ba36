"""One HTTP session that is a polite guest and trusts nothing.

A rate limit and a number of requests at once; time-outs and deadlines; retries with growing, jittered waits;
Retry-After; redirects only between known hosts, and further only to what a digest proves. An answer counts when its
reader accepts it: a page of HTML in place of JSON is asked for again like a broken connection.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, Generic, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from crawler.content import parsed_whole_number
from crawler.errors import BadResponseError, GivenUpError, NotFoundError, SelectionError, ServiceError, StoppedError

__all__ = ["Session", "is_loopback", "RequestPolicy", "retry_after", "Response", "ParsedResponse", "hosts_if_asked"]

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
        Seconds after which a request is given up even if bytes still trickle in, of headers or of the body.
    tries : int
        How often one thing is asked for.
    refusals : int
        How often, if the answers are 400 or 403: BioModels gives them for a moment, a firewall for good.
    first_wait, longest_wait : float
        Seconds before the second try, and the bound to which the wait doubles.
    contact : str or None
        Put into the User-Agent, so that the host can write to whoever runs this.
    connect_timeout : float
        Seconds to reach the host at all, if `timeout` is longer. An interrupt ends the crawl only afterwards, and it is
        to end within five.
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
    refusals: int = 4
    first_wait: float = 0.5
    longest_wait: float = 60.0
    contact: str | None = None
    connect_timeout: float = 4.0
    longest_retry_after: float = 600.0
    redirects: int = 5
    same_bodies: int = 3

    def __post_init__(self) -> None:
        times = min(self.timeout, self.deadline)
        if self.rate < 0 or self.at_once < 1 or times <= 0 or min(self.tries, self.refusals) < 1 or self.first_wait < 0:
            raise SelectionError("usage", "rate, requests at once, time-outs, tries and waits must be positive")
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
    seconds = parsed_whole_number(text)
    if seconds is not None:
        return float(seconds)
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, or one beyond all calendars
        return None


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


# -- requests that end in time -----------------------------------------------------------------------
# A time-out of a socket counts from the last byte, so a server that sends one byte now and then holds a request for
# ever. Each request is watched from a thread of its own, which closes the connection under it.


class _Watch:
    """One request under way, until its deadline or until all is stopped.

    Parameters
    ----------
    seconds : float
    stop : threading.Event
    look : float
        Seconds between two looks at the clock.
    """

    def __init__(self, seconds: float, stop: threading.Event, look: float = 0.2) -> None:
        self.expired = False
        self._end, self._stop, self._look = time.monotonic() + seconds, stop, look
        self._done = threading.Event()
        self._connection: HTTPConnection | None = None
        self._socket: object = None
        threading.Thread(target=self._keep_time, daemon=True, name="crawl-watch").start()

    @contextlib.contextmanager
    def over(self) -> Iterator[None]:
        """Watch what this thread asks for meanwhile."""
        token = _WATCH.set(self)
        try:
            yield
        finally:
            _WATCH.reset(token)
            self._done.set()

    def see(self, connection: HTTPConnection) -> None:
        """The request goes over this connection."""
        if self.expired:
            raise TimeoutError("the request has been given up")
        self._connection = connection
        self._socket = connection.sock or self._socket  # http.client forgets it before the body has come

    def _keep_time(self) -> None:
        while not self._done.wait(self._look):
            if self._stop.is_set() or time.monotonic() >= self._end:
                self.expired = True
                for each in (self._socket, self._connection and self._connection.sock):
                    if isinstance(each, socket.socket):
                        with contextlib.suppress(OSError):  # of the socket itself: TLS would wait for an answer
                            socket.socket.shutdown(each, socket.SHUT_RDWR)


_WATCH: Final[ContextVar[_Watch | None]] = ContextVar("_WATCH", default=None)


def _seen(connection: HTTPConnection) -> None:
    watch = _WATCH.get()
    if watch is not None:
        watch.see(connection)


class _WatchedHTTP(HTTPConnection):
    def connect(self) -> None:
        _seen(self)
        super().connect()
        _seen(self)

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        _seen(self)  # it may be a connection that was made for another request
        super().putrequest(method, url, *args, **options)


class _WatchedHTTPS(_WatchedHTTP, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPS


class _Adapter(HTTPAdapter):
    """Connections that are watched, also those through a proxy."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


_POOLS: Final = {"http": _HTTPPool, "https": _HTTPSPool}

# What comes of a connection and of an answer that is none: requests passes some errors of what it uses through.
_TRANSPORT: Final = (OSError, ValueError, HTTPError, HTTPException)


# -- the session -------------------------------------------------------------------------------------

# Not urllib3.Retry, which judges an answer by its status and cuts what Retry-After says: here the reader of the body
# has the last word, and a host that asks for a day is told to the user as that.
_BUSY: Final = frozenset({408, 425, 429, *range(500, 600)})
_REFUSALS: Final = frozenset({400, 403})
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
        try:
            parts = urlsplit(base_url)
            own = _own_places(parts)
        except ValueError as error:
            raise SelectionError("usage", f"{base_url!r} is not a URL of a web service: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise SelectionError("usage", f"{base_url!r} is not a URL of a web service; it begins with https://")
        self.base_url = base_url.rstrip("/")
        self.policy = policy or RequestPolicy()
        self._hosts = {place for host in hosts for place in (_place("https", host), _place("http", host))}
        self._hosts |= own
        self._secure = parts.scheme == "https"
        self._public = not _is_inside(parts.hostname or "")
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
        adapter = _Adapter(pool_connections=4, pool_maxsize=self.policy.at_once, pool_block=True, max_retries=0)
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

    def _known(self, parts: SplitResult) -> bool:
        return _place_of(parts) in self._hosts

    def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        read: Callable[[Response], T],
        limit: int = 256 << 20,
        etag: str | None = None,
        accept: str = "*/*",
        proof: Callable[[bytes], bool] | None = None,
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
        proof : callable, optional
            Whether bytes agree with a checksum that is known. With it, redirects are followed to any public host that
            has https, and what comes from there has to pass.

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
        return self.get_url(url, read=read, limit=limit, etag=etag, accept=accept, proof=proof)

    def get_url(
        self,
        url: str,
        *,
        read: Callable[[Response], T],
        limit: int,
        etag: str | None = None,
        accept: str = "*/*",
        proof: Callable[[bytes], bool] | None = None,
    ) -> ParsedResponse[T]:
        """As :meth:`get`, for an address as it is written."""
        headers = {"Accept": accept} | ({"If-None-Match": etag} if etag else {})
        doubts: list[bytes] = []
        refusals = 0
        problem = _AgainError("unreachable", "no try was made")
        for attempt in range(self.policy.tries):
            if attempt:
                self._pause(self.policy.wait(attempt, problem.wait))
            try:
                answer = self._ask(url, headers, limit, proof)
                if answer.status == 304 and etag:
                    return ParsedResponse(None, True, etag, 0)
                value = self._accept(answer, read, doubts)
            except _AgainError as again:
                problem = again
                refusals += again.code == "refused"
                if refusals == self.policy.refusals:
                    break
                continue
            return ParsedResponse(value, answer.sure, answer.etag, len(answer.body))
        raise GivenUpError(problem.code, f"{url}: {problem} ({attempt + 1} tries); run the same command later")

    # -- one try -------------------------------------------------------------------------------------

    def _accept(self, answer: Response, read: Callable[[Response], T], doubts: list[bytes]) -> T:
        """Read an answer. One that contradicts its own digest is believed only when it keeps coming the same."""
        try:
            value = read(answer)
        except BadResponseError as error:
            raise _AgainError(error.code, error.message.removeprefix(f"{answer.url}: ")) from error
        if answer.doubtful and self._digests_expected:
            digest = hashlib.sha256(answer.body).digest()
            doubts.append(digest)
            if doubts.count(digest) < self.policy.same_bodies:
                raise _AgainError("wrong-digest", "the body is not the one its ETag belongs to")
            self._digests_expected = False  # the ETags of this host are something else
        return value

    def _ask(self, url: str, headers: Mapping[str, str], limit: int, proof: Callable[[bytes], bool] | None) -> Response:
        self._slot()
        try:
            for _ in range(self.policy.redirects):
                self._admit()
                answer = self._once(url, headers, limit)
                if answer.status not in _REDIRECTS:
                    if proof is not None and not self._known(urlsplit(url)):
                        _prove(answer, proof)
                    self._judge(answer)
                    return answer
                url = self._redirected(url, answer, proved=proof is not None)
        except (requests.ConnectTimeout, requests.ReadTimeout) as error:
            # the server may still be at work on it, so our slot stays taken for as long again
            self._pause(min(self.policy.timeout, self.policy.longest_wait))
            raise _AgainError("timed-out", f"no answer within {self.policy.timeout:g} s") from error
        except _TRANSPORT as error:
            raise _AgainError("unreachable", _connection_problem(error)) from error
        finally:
            self._slots.release()
        raise ServiceError("redirect-loop", f"{url}: redirected more than {self.policy.redirects} times")

    def _once(self, url: str, headers: Mapping[str, str], limit: int) -> Response:
        with self._lock:
            self.requests += 1
        watch = _Watch(self.policy.deadline, self.stop)
        try:
            with watch.over():
                answer = self._received(url, headers, limit)
        except _TRANSPORT as error:
            if watch.expired:
                raise self._cut() from error
            raise
        if watch.expired:  # a body without a length just ends
            raise self._cut()
        length = parsed_whole_number(answer.headers.get("content-length", ""))
        unpacked = "content-encoding" not in answer.headers
        if answer.status == 200 and unpacked and length is not None and length != len(answer.body):
            raise _AgainError("short-answer", f"{len(answer.body)} bytes came where {length} were announced")
        with self._lock:
            self.bytes += len(answer.body)
        return answer

    def _received(self, url: str, headers: Mapping[str, str], limit: int) -> Response:
        timeout = (min(self.policy.connect_timeout, self.policy.timeout), self.policy.timeout)
        body = bytearray()
        options = {"timeout": timeout, "stream": True, "allow_redirects": False}
        with self._http.get(url, headers=dict(headers), **options) as response:  # type: ignore[arg-type]
            for chunk in response.iter_content(1 << 16):
                body += chunk
                if len(body) > limit:
                    raise ServiceError("too-large", f"{url}: more than {limit >> 20} MB; it was not kept")
            received = {key.lower(): value for key, value in response.headers.items()}
            return Response(response.status_code, url, received, bytes(body))

    def _cut(self) -> _AgainError | StoppedError:
        if self.stop.is_set():
            return StoppedError("stopped", "stopped")
        return _AgainError("timed-out", f"not complete within {self.policy.deadline:g} s")

    def _judge(self, answer: Response) -> None:
        if answer.status in (200, 304):
            return
        if answer.status in (404, 410):
            raise NotFoundError("gone", f"{answer.url}: not there (HTTP {answer.status})")
        if answer.status in _REFUSALS:
            raise _AgainError("refused", f"the server refuses (HTTP {answer.status})")
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

    def _redirected(self, url: str, answer: Response, *, proved: bool = False) -> str:
        """Where a redirect leads; `proved`: what comes will be compared with a checksum."""
        location = answer.headers.get("location", "")
        with contextlib.suppress(UnicodeError):  # headers are read as Latin-1, and some servers write UTF-8
            location = location.encode("latin-1").decode("utf-8")
        try:
            parts = urlsplit(urljoin(url, location))
            place = _place_of(parts)
        except ValueError as error:
            what = f"{url}: redirected to {location[:80]!r}, which is not a URL; it was not followed"
            raise ServiceError("redirect-not-allowed", what) from error
        known = place in self._hosts and (parts.scheme == "https" or not self._secure)
        if "@" in parts.netloc or not (known or (proved and self._may_lead_to(parts))):
            why = (
                "which is not a known host" if not proved else "which is neither a known host nor a public one by https"
            )
            what = f"{url}: redirected to {parts.scheme}://{parts.netloc}, {why}; it was not followed"
            raise ServiceError("redirect-not-allowed", what)
        # BioModels drops format=json when it redirects to its new host
        before, after = parse_qsl(urlsplit(url).query), parse_qsl(parts.query)
        missing = [(key, value) for key, value in before if key == "format" and key not in dict(after)]
        added = urlencode(missing, quote_via=quote)
        # all else stays to the letter: it may be signed
        return urlunsplit(parts._replace(query="&".join(part for part in (parts.query, added) if part)))

    def _may_lead_to(self, parts: SplitResult) -> bool:
        """Whether a redirect may lead to a host that is not known: never from outside into a network of ours."""
        host = parts.hostname or ""
        if parts.scheme != "https" or not host:
            return False
        if not self._public:
            return True
        if self._http.trust_env and get_environ_proxies(urlunsplit(parts)):
            return not _is_inside(host)  # only the proxy knows where names lead
        try:
            found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _AgainError("unreachable", f"{host}, to which it was redirected, has no address") from error
        return not any(_is_inside(str(address[0])) for *_, address in found)

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


def _prove(answer: Response, proof: Callable[[bytes], bool]) -> None:
    """What another host says counts only if it is the file: neither other bytes nor that there are none."""
    host = urlsplit(answer.url).hostname
    if answer.status in (404, 410):
        raise _AgainError("foreign-file", f"{host}, to which it was redirected, does not have it")
    if answer.status == 200 and not proof(answer.body):
        raise _AgainError("foreign-file", f"{host}, to which it was redirected, sends another file")


def _place(scheme: str, netloc: str) -> tuple[str, int]:
    return _place_of(urlsplit(f"{scheme}://{netloc}"))


def _place_of(parts: SplitResult) -> tuple[str, int]:
    """Host in lower case and port, also where the port is left out because it is the usual one."""
    return (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)


_OWN_NAMES: Final = ("localhost", "127.0.0.1", "::1")


def _own_places(parts: SplitResult) -> set[tuple[str, int]]:
    """The host of a URL; of our own machine, under each of its names, which are one host as those with ``www`` are."""
    host, port = _place_of(parts)
    ports = {80, 443} if port in (80, 443) else {port}
    return {(name, each) for name in (_OWN_NAMES if host in _OWN_NAMES else (host,)) for each in ports}


def _is_inside(host: str) -> bool:
    """Whether a host is this machine, or an address of a network that is not public."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return not address.is_global or address.is_multicast


def hosts_if_asked(url: str, hosts: frozenset[str]) -> frozenset[str]:
    """Hosts between which redirects may lead, when the base URL is on one of them; else none."""
    try:
        asked = urlsplit(url).hostname
    except ValueError:  # no URL, which the session says
        return frozenset()
    return hosts if asked in hosts else frozenset()


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connection_problem(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate of the server is not accepted (REQUESTS_CA_BUNDLE names another list)"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy of the environment does not answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke half-way"
    if not isinstance(error, OSError):
        return f"the answer breaks the rules of HTTP ({error})"
    return f"no connection ({type(error).__name__})"
