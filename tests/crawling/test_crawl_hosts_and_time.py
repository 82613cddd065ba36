"""Where redirects may lead, and that no server holds a crawl longer than it is allowed to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult

import pytest
from crawler_standin import Model, StandIn, sbml, serving

from crawler import (
    BioModels,
    GivenUpError,
    RequestPolicy,
    Response,
    Selection,
    SelectionError,
    ServiceError,
    Session,
    Store,
    biomodels,
    crawl,
    hosts_if_asked,
)

ONE = "BIOMD0000000001"
BASE = "https://www.biomodels.org"
QUICK = RequestPolicy(rate=0, timeout=5, first_wait=0.001, longest_wait=0.01, tries=3)


def redirected(location: str, base: str = BASE, proved: bool = False) -> str:
    session = Session(base, hosts_if_asked(base, biomodels.HOSTS))
    return session._redirected(f"{base}/x?format=json", Response(301, base, {"location": location}, b""), proved=proved)


@pytest.mark.parametrize(
    "target",
    [
        "https://biomodels.org/model/files/BIOMD0000000633",
        "https://www.biomodels.org:443/BIOMD0000000633?format=json",
        "https://WWW.BioModels.org/BIOMD0000000633?format=json",
        "https://www.biomodels.org./BIOMD0000000633",
        "https://ftp.ebi.ac.uk/pub/databases/biomodels/repository/a/b.xml",
    ],
)
@pytest.mark.parametrize("base", [BASE, "https://www.ebi.ac.uk/biomodels", "https://biomodels.org"])
def test_the_hosts_of_biomodels_are_one_service(target: str, base: str) -> None:
    assert redirected(target, base).partition("?")[::2] == (target.partition("?")[0], "format=json")


@pytest.mark.parametrize(
    "target",
    [
        "http://www.biomodels.org/x", "https://www.biomodels.org:8443/x", "https://www.biomodels.org.example/x",
        "https://user:secret@www.biomodels.org/x", "http://[::1", "https://www.biomodels.org:port/x", "ftp://ftp.ebi.ac.uk/x",
        "https://93.184.215.14/x", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_where_no_redirect_leads(target: str) -> None:
    with pytest.raises(ServiceError, match="it was not followed") as caught:
        redirected(target)
    assert caught.value.code == "redirect-not-allowed"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "[::1]", "[fe80::1]",
        "[fd00::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "224.0.0.1", "0x7f.1",
    ],
)  # fmt: skip
def test_no_redirect_leads_into_a_network_of_ours(host: str) -> None:
    for target in (f"https://{host}/x", f"https://{host}:8443/x"):
        with pytest.raises(ServiceError, match="neither a known host nor a public one"):
            redirected(target, proved=True)
    assert redirected(f"https://{host}/x", "http://127.0.0.1:5000", proved=True).startswith(f"https://{host}/x")


def test_a_location_is_followed_to_the_letter() -> None:
    signed = f"{BASE}/x?format=json&name=a+b&empty=&signature=%2f%2F"
    assert redirected(signed) == signed
    assert redirected(f"{BASE}/Größe.xml?format=json".encode().decode("latin-1")) == f"{BASE}/Größe.xml?format=json"


def test_a_public_host_has_to_have_https_and_a_checksum() -> None:
    assert redirected("https://93.184.215.14/x", proved=True) == "https://93.184.215.14/x?format=json"
    for target, proved in (("http://93.184.215.14/x", True), ("https://93.184.215.14/x", False)):
        with pytest.raises(ServiceError, match="not followed"):
            redirected(target, proved=proved)


def test_a_base_url_that_only_begins_like_a_known_one_has_no_known_hosts() -> None:
    assert hosts_if_asked("https://www.biomodels.org.example", biomodels.HOSTS) == frozenset()
    assert hosts_if_asked("https://www.biomodels.org/x", biomodels.HOSTS)
    with pytest.raises(SelectionError):
        Session("http://[::1")


class _Trusting(Session):
    """Takes every host for a public one that has https: there is none on loopback."""

    def _may_lead_to(self, parts: SplitResult) -> bool:
        return True


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("sent", [sbml("right"), sbml("wrong"), None], ids=["right", "foreign", "nothing"])
def test_what_another_host_sends_is_proved_by_the_digest(tmp_path: Path, sums: bool, sent: bytes | None) -> None:
    right = sbml("right")
    other = StandIn({} if sent is None else {ONE: Model(sent)})
    world = StandIn({ONE: Model(right, sums=sums)})
    with serving(other), serving(world):
        at = f"http://127.0.0.1:{other.port}/biomodels/model/download/{ONE}?filename={ONE}_url.xml"
        world.fault = lambda path, attempt: at if "filename" in path else None
        session = _Trusting(world.url, policy=QUICK)
        with Store.writable(tmp_path / "s") as store:
            summary = crawl(BioModels(session), session, store, Selection(ids=(ONE,)))
    came = sums and sent == right
    assert (summary.present, summary.complete) == (int(came), came)
    assert [path.read_bytes() for path in (tmp_path / "s").glob("*/*.xml")] == ([right] if came else [])
    assert bool(other.asked) == sums
    if not came:
        assert summary.misses[0].code == ("foreign-file" if sums else "redirect-not-allowed")


# -- servers that do not end -------------------------------------------------------------------------


@contextmanager
def speaking(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server on loopback that takes a request and says what `speak` says; its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.recv(1 << 16)
                    speak(connection)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)


def drip(start: bytes, seconds: float = 600.0) -> Callable[[socket.socket], None]:
    """Sends `start`, then a byte now and then, for longer than a test may last."""

    def speak(connection: socket.socket) -> None:
        connection.sendall(start)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(b"x")
            time.sleep(0.1)

    return speak


SLOW = {
    "status": b"",
    "headers": b"HTTP/1.1 200 OK\r\nX-Slow: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "body without a length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
}


@pytest.mark.parametrize("start", SLOW.values(), ids=SLOW)
def test_the_deadline_bounds_headers_and_body(start: bytes) -> None:
    with speaking(drip(start)) as url:
        session = Session(url, policy=RequestPolicy(rate=0, deadline=0.4, tries=2, first_wait=0.001))
        with pytest.raises(GivenUpError, match=r"not complete within 0\.4 s \(2 tries\)"):
            session.get("x", read=lambda answer: answer.body)


ODD = {
    "length that is no number": b"Content-Length: \xb2\r\n\r\nbody",
    "length of thousands of digits": b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nbody",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 9\r\n\r\nbody",
    "negative chunk": b"Transfer-Encoding: chunked\r\n\r\n-5\r\nbody\r\n0\r\n\r\n",
    "chunk that is no number": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nbody\r\n0\r\n\r\n",
    "encoding that is not followed": b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbody",
    "no headers": b"\x00\x01\x02\r\n\r\n",
    "headers without end": b"".join(b"X-%d: y\r\n" % number for number in range(500)) + b"\r\n",
}


@pytest.mark.parametrize("rest", ODD.values(), ids=ODD)
def test_an_answer_that_breaks_the_rules_is_asked_for_again_or_read(rest: bytes) -> None:
    def speak(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + rest)

    with speaking(speak) as url:
        session = Session(url, policy=RequestPolicy(rate=0, deadline=2, tries=2, first_wait=0.001))
        try:
            told = str(session.get("x", read=lambda answer: answer.body).value)
        except GivenUpError as error:
            told = error.message
    assert told in ("b'body'", "b''") or "(2 tries)" in told


@pytest.mark.parametrize(("start", "ids"), [(SLOW["headers"], ()), (SLOW["body"], ("--ids", ONE))])
def test_one_interrupt_ends_a_crawl(tmp_path: Path, start: bytes, ids: tuple[str, ...]) -> None:
    asked = threading.Event()
    slow = drip(start)

    def speak(connection: socket.socket) -> None:
        asked.set()
        slow(connection)

    with speaking(speak) as url:
        command = [sys.executable, "-m", "sbmlump", "crawl", "biomodels", "--store", str(tmp_path / "s"), "-q"]
        with subprocess.Popen(
            [*command, "--base-url", url, *ids], stderr=subprocess.PIPE, text=True, encoding="utf-8"
        ) as process:
            assert asked.wait(30)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=120)
    assert (process.returncode, err.strip()) == (130, "interrupted")
